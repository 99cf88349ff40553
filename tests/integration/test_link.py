"""How do we stay connected to Realtime, and what may have been missed?"""

import asyncio
from itertools import count
from typing import Any

import pytest
import structlog
from websockets.exceptions import ConnectionClosed

from worker.event import Change, Gap
from worker.subscription import Subscription

from .scripted import (
    KEY,
    LEADS,
    Ear,
    Peer,
    make,
    one_after_another,
    running,
    scripted,
)


async def test_a_change_arrives_and_the_gap_of_the_start_closes_before_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.until("phx_join")
        await peer.change(1)
        await peer.be_good()

    ear = Ear()
    async with scripted(script) as url, running(make(url, ear)) as link:
        gap, event = await ear.next(), await ear.next()

        assert isinstance(gap, Gap) and isinstance(event, Change)
        assert (gap.reason, gap.tables, gap.topics) == ("start", LEADS.tables, frozenset({"leads"}))
        assert ear.opened == [("start", LEADS.tables, frozenset({"leads"}))]
        assert event.record == {"id": 1}
        assert link.ready and link.channels == {"leads": "ready"}


async def test_the_key_goes_into_the_query_and_the_join_and_into_no_log() -> None:
    asked: list[str] = []
    joins: list[list[Any]] = []

    async def script(peer: Peer) -> None:
        assert peer.connection.request is not None
        asked.append(peer.connection.request.path)
        frame = await peer.read()
        joins.append(frame)
        await peer.accept(frame)
        await peer.be_good()

    ear = Ear()
    with structlog.testing.capture_logs() as lines:
        async with scripted(script) as url, running(make(url + "/", ear)):
            await ear.next_gap()

    assert asked == [f"/realtime/v1/websocket?apikey={KEY}&vsn=2.0.0"]
    assert joins[0][4]["access_token"] == KEY
    assert {line["event"] for line in lines} >= {"connection.opened", "gap.closed"}
    assert KEY not in repr(lines)


async def test_a_key_of_the_new_kind_is_no_token() -> None:
    joins: asyncio.Queue[list[Any]] = asyncio.Queue()

    async def script(peer: Peer) -> None:
        joins.put_nowait(await peer.read())

    async with scripted(script) as url, running(make(url, Ear(), key="sb_secret_x")):
        assert "access_token" not in (await joins.get())[4]


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4000])
async def test_every_close_reconnects_and_the_gap_says_so(code: int) -> None:
    async def closes(peer: Peer) -> None:
        await peer.until("phx_join")
        await peer.connection.close(code)

    ear = Ear()
    script = one_after_another(closes, Peer.be_good)
    with structlog.testing.capture_logs() as lines:
        async with scripted(script) as url, running(make(url, ear)):
            first, second = await ear.next_gap(), await ear.next_gap()

    assert (first.reason, second.reason) == ("start", "connection lost")
    assert second.tables == LEADS.tables
    assert second.closed > second.opened
    lost = next(line for line in lines if line["event"] == "connection.lost")
    assert str(code) in lost["reason"]


async def test_a_connection_broken_off_reconnects() -> None:
    async def breaks_off(peer: Peer) -> None:
        await peer.until("phx_join")
        peer.connection.transport.abort()

    ear = Ear()
    script = one_after_another(breaks_off, Peer.be_good)
    async with scripted(script) as url, running(make(url, ear)):
        assert (await ear.next_gap()).reason == "start"
        assert (await ear.next_gap()).reason == "connection lost"


async def test_a_frozen_server_is_left_for_its_missed_heartbeat() -> None:
    frozen = asyncio.Event()

    async def freezes(peer: Peer) -> None:
        await peer.until("phx_join")
        await frozen.wait()

    ear = Ear()
    script = one_after_another(freezes, Peer.be_good)
    with structlog.testing.capture_logs() as lines:
        async with scripted(script) as url, running(make(url, ear)):
            await ear.next_gap()
            gap = await ear.next_gap()
            frozen.set()

    lost = next(line for line in lines if line["event"] == "connection.lost")
    assert lost["reason"] == "silent for 0.25 s after a heartbeat"
    assert gap.reason == "connection lost"
    assert gap.closed - gap.opened > 0.5, "it begins when the last frame was heard"


async def test_heartbeats_go_out_while_frames_pour_in() -> None:
    heard = asyncio.Event()

    async def pours(peer: Peer) -> None:
        await peer.until("phx_join")

        async def pour() -> None:
            for number in count():
                await peer.change(number)

        pouring = asyncio.create_task(pour())
        while peer.heartbeats < 3:
            await peer.serve_one()
        heard.set()
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)
        await peer.be_good()

    ear = Ear()
    async with scripted(pours) as url, running(make(url, ear)):
        await heard.wait()

    assert len(ear.opened) == 1, "the connection lived through it"


async def test_a_listener_that_waits_slows_the_server_and_nothing_is_lost() -> None:
    sent, total = 0, 20_000
    beaten = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.until("phx_join")

        async def pour() -> None:
            nonlocal sent
            for number in range(total):
                await peer.change(number, record={"id": number, "text": "x" * 2000})
                sent += 1

        pouring = asyncio.create_task(pour())
        beats = 0
        while beats < 4:  # without an answer: it would wait behind the changes
            beats += (await peer.read())[3] == "heartbeat"
        beaten.set()
        await pouring
        await peer.be_good()

    ear = Ear()
    ear.listens.clear()
    async with scripted(script) as url, running(make(url, ear)):
        await beaten.wait()  # for more than a second nobody listened, and it went on beating
        assert sent < total, "the server had to wait"
        ear.listens.set()
        assert isinstance(await ear.next(), Gap)
        heard = [await ear.next() for _ in range(total)]

    numbers = [event.record["id"] for event in heard if isinstance(event, Change)]
    assert numbers == list(range(total))
    assert len(ear.opened) == 1, "no connection was lost"


async def test_a_channel_the_server_shuts_is_joined_again_on_the_same_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.until("phx_join")
        (ref,) = peer.join_refs
        await peer.say("realtime:leads", "phx_close", {}, ref)
        await peer.until("phx_join")
        await peer.say("realtime:leads", "phx_close", {}, ref)  # the old goodbye once more
        await peer.change(1)
        await peer.be_good()

    ear = Ear()
    async with scripted(script) as url, running(make(url, ear)) as link:
        assert (await ear.next_gap()).reason == "start"
        assert (await ear.next_gap()).reason == "channel lost"
        assert isinstance(await ear.next(), Change)
        assert link.ready


async def test_a_second_subscription_nobody_asked_for_is_a_gap() -> None:
    async def script(peer: Peer) -> None:
        await peer.until("phx_join")
        await peer.subscribed(None)
        await peer.be_good()

    ear = Ear()
    async with scripted(script) as url, running(make(url, ear)) as link:
        await ear.next_gap()
        assert (await ear.next_gap()).reason == "subscribed again"
        assert link.ready


async def test_a_refusal_is_said_once_and_asked_again_seldom() -> None:
    refused = asyncio.Event()

    async def script(peer: Peer) -> None:
        frame = await peer.read()
        await peer.answer(frame, "error", reason="Unauthorized: You do not have permissions")
        await peer.until("heartbeat")
        refused.set()
        await peer.be_good()

    ear = Ear()
    with structlog.testing.capture_logs() as lines:
        async with scripted(script) as url, running(make(url, ear)) as link:
            await refused.wait()
            assert link.channels == {"leads": "refused"}
            assert link.connected and not link.ready

    said = [line for line in lines if line["event"] == "channel.refused"]
    assert len(said) == 1 and said[0]["topic"] == "leads"


async def test_leaving_is_polite() -> None:
    codes: asyncio.Queue[int | None] = asyncio.Queue()

    async def script(peer: Peer) -> None:
        try:
            await peer.be_good()
        except ConnectionClosed as error:
            codes.put_nowait(error.rcvd.code if error.rcvd else None)

    ear = Ear()
    async with scripted(script) as url:
        async with running(make(url, ear)):
            await ear.next_gap()
        assert await codes.get() == 1000


async def test_leaving_a_server_that_hangs_takes_no_longer_than_a_second() -> None:
    """The kernel takes our goodbye and nobody reads it: the worker's own time is bounded."""
    silent: list[asyncio.StreamWriter] = []
    joined = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from websockets.server import ServerProtocol

        silent.append(writer)
        protocol = ServerProtocol()
        protocol.receive_data(await reader.readuntil(b"\r\n\r\n"))
        (request,) = protocol.events_received()
        protocol.send_response(protocol.accept(request))  # type: ignore[arg-type] # the only event there is
        writer.write(b"".join(protocol.data_to_send()))
        await reader.read(1)
        joined.set()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    ear = Ear()
    ear.listens.clear()
    task = asyncio.create_task(make(f"http://127.0.0.1:{port}", ear).run())
    await joined.wait()

    began = asyncio.get_running_loop().time()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert asyncio.get_running_loop().time() - began < 1.5, "a second, and a busy machine"
    for writer in silent:
        writer.close()
    server.close()


async def test_events_read_before_we_leave_are_handed_on() -> None:
    sent = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.until("phx_join")
        for number in range(100):
            await peer.change(number)
        await peer.until("heartbeat")
        sent.set()
        await peer.be_good()

    ear = Ear()
    ear.listens.clear()
    async with scripted(script) as url, running(make(url, ear)):
        await sent.wait()
        asyncio.get_running_loop().call_later(0.05, ear.listens.set)

    heard = [ear.heard.get_nowait() for _ in range(ear.heard.qsize())]
    assert sum(isinstance(event, Change) for event in heard) == 100


async def test_without_subscriptions_nothing_is_connected() -> None:
    link = make("http://127.0.0.1:9", Ear(), subscriptions=[])

    async with running(link):
        await asyncio.sleep(0)
        assert link.ready and not link.connected


async def test_several_channels_have_a_gap_each() -> None:
    async def script(peer: Peer) -> None:
        while True:
            frame = await peer.read()
            if frame[3] == "phx_join" or frame[3] == "heartbeat":
                await peer.answer(frame)

    ear = Ear()
    room = Subscription("room", broadcast=True)
    async with scripted(script) as url, running(make(url, ear, subscriptions=[LEADS, room])) as it:
        gap = await ear.next_gap()

        assert not gap.tables and gap.topics == {"room"}
        assert it.channels["room"] == "ready" and not it.ready
