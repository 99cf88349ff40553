"""What does a client see of a connection that is broken on purpose, and when it is mended?"""

from __future__ import annotations

import asyncio
import socket

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from local.realtime.faults import CODE, REFUSED_HANDSHAKE
from local.realtime.refusals import HANDSHAKE_REFUSALS
from local.realtime.server import Server
from tests.support.databases import FreshDatabase
from tests.support.names import named
from tests.support.sockets import Client, Heard, address, client, served, token

ROOM = "realtime:room"
OTHER = "realtime:other"


async def hears_nothing(one: Client) -> None:
    """What is measured is that no frame comes."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await one.hear()


def was_reset(socket: ClientConnection) -> bool:
    """Whether it ended without a close frame, neither heard nor said."""
    return socket.protocol.close_rcvd is None and socket.protocol.close_sent is None


async def refused(address: str) -> tuple[int, str]:
    """The status and the error that a handshake is answered with."""
    with pytest.raises(InvalidStatus) as answer:
        await connect(address, proxy=None)
    response = answer.value.response
    return response.status_code, orjson.loads(response.body or b"")["error"]


async def test_a_frozen_server_neither_reads_nor_writes_until_it_thaws(realtime: Server) -> None:
    async with client(realtime) as one:
        await one.join(ROOM)
        realtime.faults.freeze = True
        await one.push("phoenix", "heartbeat", {}, ref="late")
        pong = asyncio.ensure_future(await one.socket.ping())
        await hears_nothing(one)
        assert not pong.done()
        realtime.faults.freeze = None

        assert (await one.hear()).ref == "late"
        await pong


async def test_a_frozen_server_says_neither_hello_nor_goodbye(realtime: Server) -> None:
    async with client(realtime) as one:
        realtime.faults.freeze = True
        knocking = asyncio.create_task(connect(address(realtime), proxy=None).__aenter__())
        closing = asyncio.create_task(one.socket.close())
        await asyncio.wait([knocking, closing], timeout=0.2)
        assert not knocking.done() and not closing.done()
        realtime.faults.freeze = None

        await closing
        await (await knocking).close()


async def test_a_half_open_connection_is_deaf_and_dumb_and_new_ones_work(realtime: Server) -> None:
    async with client(realtime) as lost, client(realtime) as other:
        await lost.join(ROOM, broadcast={"self": True})
        (connection, *_) = [one for one in realtime.connections if one.channels]
        realtime.faults.throw("half_open")
        await lost.push("phoenix", "heartbeat", {})
        await lost.push(ROOM, "broadcast", {"type": "broadcast", "event": "e", "payload": {}})
        async with client(realtime) as fresh:
            await fresh.join(ROOM)
            await fresh.push(ROOM, "broadcast", {"type": "broadcast", "event": "e", "payload": {}})
            assert (await fresh.beat()).ref == "beat"
        await hears_nothing(lost)
        assert lost.socket.close_code is None and other.socket.close_code is None

        for each in (lost, other):
            each.socket.transport.abort()  # nobody would answer the goodbye
        await connection.closed.wait()
    assert realtime.faults.half_open is None


async def test_a_half_open_connection_is_forgotten_after_a_while_and_not_told(
    database: FreshDatabase,
) -> None:
    presence = {"key": "lost", "enabled": True}
    async with (
        served(database, idle_timeout=0.3) as server,
        client(server) as lost,
        client(server) as other,
    ):
        await lost.join(ROOM, presence=presence)
        await lost.push(ROOM, "presence", {"type": "presence", "event": "track", "payload": {}})
        await lost.event("presence_diff")
        await other.join(ROOM, presence={"key": "other", "enabled": True})
        server.faults.throw("half_open")
        async with client(server) as fresh:
            await fresh.join(ROOM, presence={"key": "fresh", "enabled": True})
            left = (await fresh.event("presence_diff")).payload["leaves"]

        assert list(left) == ["lost"]
        await hears_nothing(lost)
        assert lost.socket.close_code is None
        for each in (lost, other):
            each.socket.transport.abort()  # nobody would answer the goodbye


async def test_every_connection_is_closed_with_each_code(realtime: Server) -> None:
    for text in CODE.allowed:
        async with client(realtime) as one, client(realtime) as other:
            await one.join(ROOM)
            realtime.faults.throw("close", text)
            for each in (one, other):
                await each.socket.wait_closed()
                assert each.socket.close_code == int(text)
                assert was_reset(each.socket) == (text == "1006")


async def test_what_meets_nobody_waits_for_the_first_channel(realtime: Server) -> None:
    realtime.faults.throw("close", "1001")
    async with client(realtime) as one:
        await one.beat()
        answer = await one.join(ROOM)
        await one.socket.wait_closed()

    assert answer.payload["status"] == "ok"
    assert one.socket.close_code == 1001
    assert realtime.faults.shown("close") is None


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_the_server_requests_a_disconnect_and_closes(realtime: Server, vsn: str) -> None:
    async with client(realtime, vsn) as one:
        for topic in (ROOM, OTHER):
            await one.join(topic)
        realtime.faults.throw("disconnect")
        said = [await one.hear() for _ in range(2)]
        await one.socket.wait_closed()

    payload = {"extension": "system", "message": "Server requested disconnect", "status": "ok"}
    assert said == [Heard(None, None, topic, "system", payload) for topic in (ROOM, OTHER)]
    assert one.socket.close_code == 1012


async def test_whoever_is_accepted_is_hung_up_on_with_each_code(realtime: Server) -> None:
    for text in CODE.allowed:
        realtime.faults.throw("hang_up", text)
        accepted = await connect(address(realtime), proxy=None)
        await accepted.wait_closed()
        assert accepted.close_code == int(text)
        assert was_reset(accepted) == (text == "1006")
    realtime.faults.take_back("hang_up")

    async with client(realtime) as one:
        assert (await one.beat()).ref == "beat"


async def test_a_handshake_is_refused_with_each_status_and_its_message(realtime: Server) -> None:
    async with client(realtime) as one:
        for text in REFUSED_HANDSHAKE.allowed:
            realtime.faults.throw("refuse_handshakes", text)
            assert await refused(address(realtime)) == (HANDSHAKE_REFUSALS[text].status, text)
        assert (await one.beat()).ref == "beat", "whoever is in stays"
        realtime.faults.take_back("refuse_handshakes")

    async with client(realtime) as one:
        assert (await one.beat()).ref == "beat"


async def test_a_name_that_does_not_resolve_keeps_out_and_throws_nobody_out(
    realtime: Server,
) -> None:
    query = address(realtime).partition("/realtime/v1")[2]
    with named(realtime) as url:
        there = f"{url.replace('http', 'ws')}/realtime/v1{query}"
        async with connect(there, proxy=None) as one:
            realtime.faults.throw("dns")
            with pytest.raises(socket.gaierror):
                await connect(there, proxy=None)
            await (await one.ping())
            realtime.faults.take_back("dns")
        async with connect(there, proxy=None) as one:
            await (await one.ping())


async def test_who_does_not_read_is_cut(realtime: Server) -> None:
    async with client(realtime) as idle, client(realtime) as slow:
        realtime.faults.throw("slow_reader", "0.1")
        await slow.push("phoenix", "heartbeat", {})
        await slow.socket.wait_closed()
        realtime.faults.take_back("slow_reader")

        assert slow.socket.close_code == 1006
        assert (await idle.beat()).ref == "beat", "nothing was to be sent to it"


async def test_who_reads_again_in_time_gets_everything(realtime: Server) -> None:
    async with client(realtime) as slow:
        realtime.faults.throw("slow_reader")
        for ref in ("1", "2"):
            await slow.push("phoenix", "heartbeat", {}, ref=ref)
        await hears_nothing(slow)
        realtime.faults.take_back("slow_reader")

        assert [(await slow.hear()).ref for _ in range(2)] == ["1", "2"]


async def test_unanswered_heartbeats_leave_everything_else_alone(realtime: Server) -> None:
    async with client(realtime) as one:
        realtime.faults.ignore_heartbeats = True
        await one.push("phoenix", "heartbeat", {}, ref="lost")
        answer = await one.join(ROOM)
        realtime.faults.ignore_heartbeats = None

        assert answer.payload["status"] == "ok"
        assert (await one.beat()).ref == "beat"


async def test_tokens_expire_before_their_time_and_newer_ones_are_good(realtime: Server) -> None:
    old = token("authenticated", sub="old")
    async with client(realtime) as one:
        await one.join(ROOM)  # with the key of the socket
        await one.join(OTHER, token=old)
        realtime.faults.throw("token_expired")
        said = [await one.hear() for _ in range(4)]
        again = await one.join(OTHER, token=old)
        fresh = await one.join(OTHER, token=token("authenticated", sub="fresh"))

    topics = [(heard.topic, heard.event) for heard in said]
    assert topics == [(each, event) for each in (ROOM, OTHER) for event in ("system", "phx_close")]
    assert said[0].payload["message"].startswith("Token has expired ")
    assert again.payload["response"]["reason"].startswith("InvalidJWTToken: Token has expired ")
    assert fresh.payload["status"] == "ok"


async def test_an_expired_key_opens_no_socket_until_it_is_taken_back(realtime: Server) -> None:
    key = token(iat=1_700_000_000)
    realtime.faults.throw("token_expired")
    answer = await refused(address(realtime, key=key))
    realtime.faults.take_back("token_expired")

    assert answer == (401, "Token has expired")
    async with client(realtime, key=key) as one:
        assert (await one.beat()).ref == "beat"


async def test_a_key_that_is_no_token_does_not_expire(database: FreshDatabase) -> None:
    async with (
        served(database, api_keys={"sb_secret_x": "service_role"}) as server,
        client(server, key="sb_secret_x") as one,
    ):
        await one.join(ROOM)
        server.faults.throw("token_expired")

        assert (await one.beat()).ref == "beat"
