"""What becomes of frames that are broken, withheld or too big?"""

import asyncio

import structlog

from worker.event import Change

from .scripted import (
    LEADS,
    Ear,
    Peer,
    make,
    one_after_another,
    running,
    scripted,
)


async def test_garbage_keeps_the_connection_and_is_said_once_without_its_values() -> None:
    garbage: list[str | bytes] = [
        "secret-value",
        "{}",
        '["secret-value"]',
        b"\xff\xfe",
        b"\x04\xff",
        "",
        '[null,null,"realtime:leads","surprise",{}]',
        '[null,null,"realtime:other","phx_close",{}]',
        '[null,null,"realtime:leads","postgres_changes",{"data":[]}]',
    ]

    async def script(peer: Peer) -> None:
        await peer.until("phx_join")
        for frame in garbage + garbage:
            await peer.connection.send(frame)
        await peer.change(1)
        await peer.be_good()

    ear = Ear()
    with structlog.testing.capture_logs() as lines:
        async with scripted(script) as url, running(make(url, ear)) as link:
            while not isinstance(event := await ear.next(), Change):
                pass
            assert link.ready

    assert event.record == {"id": 1}
    kinds = [line["kind"] for line in lines if line["event"] == "frame.unreadable"]
    assert len(kinds) == len(set(kinds)) == 9
    assert "secret-value" not in repr(lines)
    assert not any(line["event"] == "connection.lost" for line in lines)


async def test_what_may_have_been_a_change_opens_and_closes_a_gap() -> None:
    async def script(peer: Peer) -> None:
        await peer.until("phx_join")
        await peer.connection.send('[null,null,"realtime:leads","postgres_changes",{}]')
        await peer.be_good()

    ear = Ear()
    async with scripted(script) as url, running(make(url, ear)):
        await ear.next_gap()
        gap = await ear.next_gap()

    assert (gap.reason, gap.tables) == ("frame unreadable", LEADS.tables)
    assert [reason for reason, _, _ in ear.opened] == ["start", "frame unreadable"]


async def test_a_flood_of_garbage_is_one_gap_until_that_gap_is_handled() -> None:
    beaten = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.until("phx_join")
        for _ in range(5000):
            await peer.connection.send("garbage")
        await peer.until("heartbeat")  # so it has read them all
        beaten.set()
        await peer.connection.send("garbage")
        await peer.be_good()

    ear = Ear()
    ear.listens.clear()
    async with scripted(script) as url, running(make(url, ear)):
        await beaten.wait()
        assert len(ear.opened) <= 3
        ear.listens.set()
        assert (await ear.next_gap()).reason == "start"
        assert (await ear.next_gap()).reason == "frame unreadable"


async def test_a_withheld_change_is_a_gap_of_its_table_and_said_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.until("phx_join")
        for number in range(3):
            await peer.change(number, record={}, errors=["Error 401: Unauthorized"])
        await peer.change(7)
        await peer.be_good()

    ear = Ear()
    with structlog.testing.capture_logs() as lines:
        async with scripted(script) as url, running(make(url, ear)):
            await ear.next_gap()
            gap = await ear.next_gap()
            while not isinstance(await ear.next(), Change):
                pass

    assert (gap.reason, gap.tables) == ("change withheld", LEADS.tables)
    assert [line["event"] for line in lines].count("change.withheld") == 1


async def test_a_frame_of_four_mebibytes_is_an_event_like_any_other() -> None:
    async def script(peer: Peer) -> None:
        await peer.until("phx_join")
        await peer.change(1, record={"id": 1, "text": "x" * 4 * 1024 * 1024})
        await peer.be_good()

    ear = Ear()
    async with scripted(script) as url, running(make(url, ear)):
        await ear.next_gap()
        event = await ear.next()

    assert isinstance(event, Change)
    assert len(event.record["text"]) == 4 * 1024 * 1024


async def test_a_frame_too_big_is_named_and_the_link_comes_back() -> None:
    async def too_big(peer: Peer) -> None:
        await peer.until("phx_join")
        await peer.connection.send("x" * 17 * 1024 * 1024)
        await peer.be_good()

    ear = Ear()
    script = one_after_another(too_big, Peer.be_good)
    with structlog.testing.capture_logs() as lines:
        async with scripted(script) as url, running(make(url, ear)):
            await ear.next_gap()
            await ear.next_gap()

    lost = next(line for line in lines if line["event"] == "connection.lost")
    assert "1009" in lost["reason"]
