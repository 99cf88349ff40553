"""How do the frames of a live link get into a file?"""

import asyncio
from pathlib import Path

import pytest

from worker.errors import CommandFailed
from worker.event import Change, Gap
from worker.realtime.link import Link
from worker.replay.record import record
from worker.replay.replay import events

from .scripted import LEADS, Ear, Peer, running, scripted

HIDDEN = frozenset({"password_hash"})


async def story(peer: Peer) -> None:
    await peer.until("phx_join")
    for number in range(3):
        await peer.change(7)  # three identical frames are three changes
        await peer.change(number, record={"id": number, "PASSWORD_HASH": "s3cret"})
    await peer.connection.send("garbage")
    await peer.be_good()


async def written(out: Path, url: str, seconds: float = 0.5) -> int:
    return await record(
        out, seconds=seconds, url=url, key="key", subscriptions=[LEADS], hidden_columns=HIDDEN
    )


async def test_a_replayed_recording_has_the_events_that_live_ones_were(tmp_path: Path) -> None:
    out, ear = tmp_path / "story.jsonl", Ear()
    async with scripted(story) as url:
        count = await written(out, url)
        link = Link(url=url, key="key", subscriptions=[LEADS], listener=ear, hidden_columns=HIDDEN)
        async with running(link):
            live = [await ear.next() for _ in range(8)]
    replayed = list(events(out, HIDDEN))

    assert count == 9  # an answer, a subscription, six changes, garbage
    assert [type(event) for event in replayed] == [Gap, *[Change] * 6, Gap]
    rows = [event.record for event in replayed if isinstance(event, Change)]
    assert rows == [event.record for event in live if isinstance(event, Change)]
    plain = slice(1, 7, 2)  # a frame whose hidden column was dropped is another frame
    assert [event.id for event in replayed[plain]] == [event.id for event in live[plain]]
    assert b"s3cret" not in out.read_bytes()


async def test_a_cancelled_recording_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "story.jsonl"
    heard = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.until("phx_join")
        await peer.change(1)
        await peer.say("realtime:leads", "phx_close", {}, peer.join_refs[-1])
        await peer.until("phx_join")  # so it has read everything before
        heard.set()
        await peer.be_good()

    async with scripted(script) as url:
        recording = asyncio.create_task(written(out, url, seconds=60))
        await heard.wait()
        recording.cancel()
        await asyncio.gather(recording, return_exceptions=True)

    assert out.read_bytes().endswith(b"\n")
    assert list(events(out, HIDDEN))


async def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "story.jsonl"
    out.write_text("precious")

    with pytest.raises(CommandFailed, match="exists already"):
        await written(out, "http://127.0.0.1:9")

    assert out.read_text() == "precious"


async def test_a_recording_of_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="nothing was heard"):
        await written(tmp_path / "story.jsonl", "http://127.0.0.1:9", seconds=0.05)


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="No such file"):
        await written(tmp_path / "nowhere" / "story.jsonl", "http://127.0.0.1:9")
