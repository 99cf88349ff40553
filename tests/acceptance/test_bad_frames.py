"""Does the connection survive frames that make no sense?"""

from __future__ import annotations

import re
import signal
from pathlib import Path

import httpx

from tests.acceptance.deployment import settings_for
from tests.acceptance.process import worker_process
from tests.acceptance.realtime import be_realtime, join, say_change
from tests.integration.scripted import Peer, scripted
from tests.support.databases import FreshDatabase

REPEATED = 3
KINDS = [
    "empty",
    "no data",
    "not a list",
    "not json",
    "not utf-8",
    "too deep",
    "too short",
    "unknown event",
    "wrong types",
]


def broken_frames(topic: str) -> list[str | bytes]:
    huge = "x" * (4 * 1024 * 1024)
    deep = f"{'[' * 900}1{']' * 900}"
    return [
        "this is not JSON hunter2",
        '{"an": "object", "hunter2": 1}',
        '["1"]',
        "[null, null, 7, 8, 9]",
        f'[null, null, "{topic}", "no_such_event_hunter2", {{}}]',
        f'[null, null, "{topic}", "postgres_changes", ["hunter2"]]',
        f'[null, null, "{topic}", "postgres_changes", {{"ids": [1]}}]',
        f'[null, null, "{topic}", "system", ["hunter2"]]',
        f'[null, null, "{topic}", "phx_reply", "hunter2"]',
        f'[null, null, "{topic}", "broadcast", "{huge}"]',
        f'[null, null, "{topic}", "broadcast", {{"event": "e", "payload": {deep}}}]',
        b"\xff\xfe hunter2",
        b"",
    ]


async def test_frames_that_make_no_sense_are_survived(
    migrated: FreshDatabase, folder: Path
) -> None:
    connections = 0

    async def be_broken(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        topic, ids = await join(peer)
        for frame in broken_frames(topic) * REPEATED:
            await peer.connection.send(frame)
        await say_change(peer, topic, ids)
        await be_realtime(peer)

    async with scripted(be_broken) as url:
        settings = settings_for(migrated.url, url, HOST="127.0.0.1", PORT="0")
        async with (
            worker_process("run", folder=folder, settings=settings) as worker,
            httpx.AsyncClient() as browser,
        ):
            port = (await worker.event("worker.starting"))["port"]
            await worker.event("handler.finished")  # of the change behind all of them
            told = sorted(line["kind"] for line in worker.events("frame.unreadable"))
            counted = (await browser.get(f"http://127.0.0.1:{port}/metrics")).text
            worker.send(signal.SIGTERM)

            assert await worker.ends() == 0
            assert connections == 1
            assert told == KINDS
            for kind in KINDS:
                count = re.search(f'frames_unreadable_total{{kind="{kind}"}} (.+)', counted)
                assert count is not None
                assert float(count[1]) % REPEATED == 0
            assert "hunter2" not in worker.story()
