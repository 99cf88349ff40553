"""Who gets a socket, and how does it end?"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from local import tokens
from local.realtime.server import Server
from tests.support.databases import FreshDatabase
from tests.support.sockets import SECRET, address, client, served, token

EXPIRED = tokens.issue(SECRET, "anon", lifetime=-5)


async def refused(url: str, **headers: str) -> tuple[int, bytes]:
    with pytest.raises(InvalidStatus) as error:
        async with connect(url, proxy=None, additional_headers=headers):
            raise AssertionError("it was accepted")
    return error.value.response.status_code, bytes(error.value.response.body or b"")


async def test_who_hangs_up_during_the_handshake_is_no_error(
    realtime: Server, caplog: pytest.LogCaptureFixture
) -> None:
    url = urlsplit(address(realtime))
    head = f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\n"
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    with socket.create_connection((url.hostname, url.port)) as hasty:
        hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        hasty.sendall((head + upgrade + key).encode())
    async with client(realtime):  # by then the one before was dealt with
        pass

    assert caplog.messages == []


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (EXPIRED, "Token has expired"),
        ("nonsense", "The token provided is not a valid JWT"),
        ("sb_publishable_unknown", "The token provided is not a valid JWT"),
        (tokens.issue("x" * 32, "anon"), "Failed to validate JWT signature"),
    ],
)
async def test_a_key_that_is_not_accepted_is_401_with_a_reason(
    realtime: Server, key: str, message: str
) -> None:
    status, body = await refused(address(realtime, key=key))

    assert (status, json.loads(body)) == (401, {"error": message})


async def test_a_missing_key_is_401(realtime: Server) -> None:
    url = realtime.url.replace("http", "ws") + "/socket/websocket?vsn=2.0.0"

    status, body = await refused(url)

    assert (status, json.loads(body)) == (401, {"error": "API key is missing"})


@pytest.mark.parametrize("vsn", ["3.0.0", "1.1.0", "x"])
async def test_an_unknown_version_is_403_without_a_body(realtime: Server, vsn: str) -> None:
    assert await refused(address(realtime, vsn)) == (403, b"")


async def test_a_refused_handshake_is_answered_late(database: FreshDatabase) -> None:
    async with served(database, handshake_error_delay=0.2) as server:
        began = asyncio.get_running_loop().time()
        await refused(address(server, key=EXPIRED))

        assert asyncio.get_running_loop().time() - began >= 0.2


async def test_the_header_wins_over_the_query(realtime: Server) -> None:
    status, _ = await refused(address(realtime), **{"x-api-key": EXPIRED})

    assert status == 401


async def test_the_version_is_1_where_none_is_named(realtime: Server) -> None:
    url = f"{realtime.url.replace('http', 'ws')}/socket/websocket?apikey={token()}"
    async with connect(url, proxy=None) as socket:
        await socket.send('{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}')

        assert json.loads(await socket.recv())["ref"] == "1"


async def test_a_listed_key_stands_for_its_role(database: FreshDatabase) -> None:
    async with (
        served(database, api_keys={"sb_secret_test": "service_role"}) as server,
        client(server, key="sb_secret_test") as one,
    ):
        answer = await one.join("realtime:room", token="sb_secret_test", private=True)

        assert answer.payload["status"] == "ok"


async def test_connections_beyond_the_limit_are_429(database: FreshDatabase) -> None:
    async with served(database, max_connections=1) as server, client(server):
        status, body = await refused(address(server))

        assert (status, json.loads(body)) == (429, {"error": "Too many connected users"})


async def test_compression_is_never_agreed_on(realtime: Server) -> None:
    async with connect(address(realtime), proxy=None, compression="deflate") as socket:
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


async def test_a_silent_connection_is_closed_with_1000(database: FreshDatabase) -> None:
    async with served(database, idle_timeout=0.1) as server, client(server) as one:
        with pytest.raises(ConnectionClosed) as closed:
            await one.hear()

        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000


async def test_a_ping_counts_as_life_and_is_answered(database: FreshDatabase) -> None:
    async with served(database, idle_timeout=0.2) as server, client(server) as one:
        clock = asyncio.get_running_loop()
        end = clock.time() + 0.5
        while clock.time() < end:
            await (await one.socket.ping())

        assert (await one.beat()).ref == "beat"


async def test_a_frame_over_the_limit_is_closed_with_1009(database: FreshDatabase) -> None:
    async with served(database, max_frame=1000) as server, client(server) as one:
        await one.push("realtime:room", "broadcast", {"x": "y" * 1000})
        with pytest.raises(ConnectionClosed) as closed:
            await one.hear()

        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_an_unreadable_frame_is_dropped_and_the_connection_stays(
    realtime: Server, vsn: str
) -> None:
    async with client(realtime, vsn) as one:
        for data in ("", "no json", "[]", "{}", '{"topic":"t"}', b"", b"\x00", b"\x09abc"):
            await one.socket.send(data)

        assert (await one.beat()).ref == "beat"


async def test_who_has_joined_nothing_for_long_is_cut_and_nobody_else(
    database: FreshDatabase,
) -> None:
    async with (
        served(database, no_channel_timeout=0.6) as server,
        client(server) as joined,
        client(server) as bare,
    ):
        await joined.join("realtime:room")
        await bare.beat()
        await bare.socket.wait_closed()

        assert bare.socket.close_code == 1006
        assert (await joined.beat()).ref == "beat"
        await joined.push("realtime:room", "phx_leave", {})
        await joined.socket.wait_closed()
        assert joined.socket.close_code == 1006


async def test_a_stopping_server_closes_with_1012(database: FreshDatabase) -> None:
    async with served(database) as server:
        leaving = await connect(address(server), proxy=None)
    await leaving.wait_closed()

    assert leaving.close_code == 1012


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, None])
async def test_every_connection_can_be_closed_with_a_code_or_reset(
    realtime: Server, code: int | None
) -> None:
    async with client(realtime) as one:
        await one.join("realtime:room")
        realtime.hang_up(code)
        await one.socket.wait_closed()

        assert one.socket.close_code == (code or 1006)
