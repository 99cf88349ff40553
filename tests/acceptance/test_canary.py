"""Does a worker whose Realtime died without a word say so, and get over it?"""

from __future__ import annotations

import re
import signal
from pathlib import Path

import asyncpg
import httpx

from tests.acceptance.deployment import settings_for
from tests.acceptance.process import WorkerProcess, worker_process
from tests.support.databases import FreshDatabase
from tests.support.sockets import served, token

BEATS = {"CANARY_SECONDS": "0.2", "CANARY_PATIENCE_SECONDS": "1", "HOST": "127.0.0.1"}


def settings(database: FreshDatabase, url: str, **more: str) -> dict[str, str]:
    return {
        **settings_for(database.url, url, **BEATS, PORT="0", **more),
        "SUPABASE_KEY": token(),
    }


async def page(worker: WorkerProcess, name: str) -> httpx.Response:
    port = (await worker.event("worker.starting"))["port"]
    async with httpx.AsyncClient() as browser:
        return await browser.get(f"http://127.0.0.1:{port}/{name}")


async def insert(database: FreshDatabase) -> None:
    connection = await asyncpg.connect(database.url)
    await connection.execute("insert into leads (first_name, last_name) values ('a', 'b')")
    await connection.close()


async def audited(database: FreshDatabase) -> list[str]:
    connection = await asyncpg.connect(database.url)
    rows = await connection.fetch("select table_name from audit_logs")
    await connection.close()
    return [row["table_name"] for row in rows]


async def test_changes_that_are_dead_make_it_not_ready_until_a_beat_comes(
    migrated: FreshDatabase, folder: Path
) -> None:
    async with (
        served(migrated) as server,
        worker_process("run", folder=folder, settings=settings(migrated, server.url)) as worker,
    ):
        await worker.event("worker.ready")
        server.faults.cdc_dead = True
        unready = await worker.event("worker.unready")
        await worker.event("canary.missed", kind="changes", remedy="rejoin")
        await worker.event("canary.missed", kind="changes", remedy="reconnect")
        lost = await worker.event("connection.lost", reason="no canary beat came back")
        await worker.event("channel.ready", after=lost["place"])
        answer = await page(worker, "ready")
        assert answer.status_code == 503
        (reason,) = answer.json()["reasons"]
        assert re.fullmatch(r"no canary beat for \d+ s \(changes\)", reason)
        assert answer.json()["channels"] == {"tidemark:public.leads": "ready"}

        server.faults.cdc_dead = None
        back = await worker.event("canary.back", kind="changes")
        gap = await worker.event("gap.closed", after=back["place"], reason="no canary beat")
        await worker.event("worker.ready", after=unready["place"])
        await insert(migrated)
        await worker.event("handler.finished")
        numbers = (await page(worker, "metrics")).text
        worker.send(signal.SIGTERM)
        assert await worker.ends() == 0, worker.story()

    assert gap["tables"] == ["public.leads"] and gap["seconds"] > 1
    assert 'tidemark_canary_seconds_count{kind="changes"}' in numbers
    assert 'tidemark_canary_missed_total{kind="changes",remedy="reconnect"}' in numbers
    assert await audited(migrated) == ["leads"], "no beat is a change of anybody's"


async def test_subscriptions_that_died_without_a_word_are_healed_by_joining_again(
    migrated: FreshDatabase, folder: Path
) -> None:
    async with (
        served(migrated) as server,
        worker_process("run", folder=folder, settings=settings(migrated, server.url)) as worker,
    ):
        await worker.event("worker.ready")
        server.faults.cdc_lost = True
        await insert(migrated)  # lost: this is the live lane, and the gap says so
        await worker.event("canary.back", kind="changes")
        await worker.event("gap.closed", reason="no canary beat")
        await insert(migrated)
        await worker.event("handler.finished")
        worker.send(signal.SIGTERM)
        assert await worker.ends() == 0, worker.story()

    assert [line["remedy"] for line in worker.events("canary.missed")] == ["rejoin"]
    assert len(worker.events("connection.opened")) == 1
    assert await audited(migrated) == ["leads"]


async def test_a_recording_holds_no_beats_though_workers_beat(
    migrated: FreshDatabase, folder: Path
) -> None:
    async with (
        served(migrated) as server,
        worker_process("run", folder=folder, settings=settings(migrated, server.url)) as worker,
    ):
        await worker.event("worker.ready")
        recording = ("record", "--out", "heard.jsonl", "--for", "2s")
        async with worker_process(
            *recording, folder=folder, settings=settings(migrated, server.url)
        ) as recorder:
            await recorder.event("channel.ready")
            await insert(migrated)
            assert await recorder.ends() == 0, recorder.story()

    heard = (folder / "heard.jsonl").read_text()
    assert "postgres_changes" in heard and "canary" not in heard and "beats" not in heard
