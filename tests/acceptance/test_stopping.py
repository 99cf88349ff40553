"""Does the process end in time, whatever hangs, and with what it had taken in done?"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import httpx
import pytest
from aiohttp import web

from local.database import prepare
from local.postgres import SUPERUSER, Cluster
from tests.acceptance.deployment import settings_for
from tests.acceptance.process import WorkerProcess, worker_process
from tests.acceptance.realtime import be_realtime, join, one_change, say_change
from tests.integration.scripted import Peer, scripted
from tests.support.databases import FreshDatabase
from tests.support.doorway import doorway
from tests.support.servers import stopped
from worker.db.migrate import migrate

GRACE = 10.0  # seconds from SIGTERM to SIGKILL on most platforms


@asynccontextmanager
async def serving(page: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """Answer every request of HTTP with `page`."""
    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", page)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def ends_in_time(worker: WorkerProcess, began: float) -> int:
    status = await worker.ends()
    assert time.monotonic() - began < GRACE, worker.story()
    return status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_ends_it_cleanly(
    migrated: FreshDatabase, supabase: str, folder: Path, number: signal.Signals
) -> None:
    settings = settings_for(migrated.url, supabase)
    async with worker_process("run", folder=folder, settings=settings) as worker:
        await worker.event("worker.ready")
        worker.send(number)

        assert await worker.ends() == 0
        told = [line["event"] for line in worker.said if line["event"].startswith("worker.")]
        assert told == [
            "worker.starting",
            "worker.running",
            "worker.ready",
            "worker.draining",
            "worker.stopped",
        ]
        assert worker.text == ""
        assert "hunter2" not in worker.story()


LATE = """
import structlog, time

structlog.get_logger().info("module.reached")
time.sleep(3600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", [("run",), ("record", "--out", "file.jsonl")])
async def test_a_signal_during_the_start_is_a_clean_end(
    command: tuple[str, ...], number: signal.Signals, folder: Path
) -> None:
    (folder / "deployment" / "leads.py").write_text(LATE)
    settings = settings_for("postgres://me@127.0.0.1:1/d", "http://127.0.0.1:1")
    async with worker_process(*command, folder=folder, settings=settings) as worker:
        await worker.event("module.reached")
        worker.send(number)

        assert await worker.ends() == 0
        assert worker.text == ""


async def test_what_was_received_is_finished_before_it_ends(
    migrated: FreshDatabase, folder: Path
) -> None:
    async def many_changes(peer: Peer) -> None:
        topic, ids = await join(peer)
        for _ in range(300):
            await say_change(peer, topic, ids, lead=str(uuid4()))
        await be_realtime(peer)

    async with scripted(many_changes) as url:
        settings = settings_for(migrated.url, url)
        async with worker_process("run", folder=folder, settings=settings) as worker:
            await worker.event("handler.finished")
            worker.send(signal.SIGTERM)

            assert await worker.ends() == 0
            handled = len(worker.events("handler.finished"))
    connection = await asyncpg.connect(migrated.url)
    kept = await connection.fetchval("select count(*) from audit_logs")
    await connection.close()
    assert kept == handled > 0


async def test_a_notification_being_sent_is_written_down_as_sent(
    migrated: FreshDatabase, folder: Path
) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def page(request: web.Request) -> web.Response:
        if request.method == "POST":  # all else is the link, which waits
            asked.set()
            await answered.wait()
        return web.Response(status=202)

    connection = await asyncpg.connect(migrated.url)
    await connection.execute(
        "insert into tidemark.outbox (id, audience, recipient, kind, data) "
        "values (gen_random_uuid(), 'agent', 'ada', 'lead-moved', '{}')"
    )
    async with serving(page) as url:
        more = {"SINKS": "broadcast", "DRAIN_SECONDS": "40"}
        settings = settings_for(migrated.url, url, **more)
        async with worker_process("run", folder=folder, settings=settings) as worker:
            await asked.wait()
            worker.send(signal.SIGTERM)
            await worker.event("worker.draining")
            answered.set()

            assert await worker.ends() == 0
    assert await connection.fetchval("select sent_at is not null from tidemark.outbox")
    await connection.close()


async def test_what_goes_on_coming_does_not_keep_it(migrated: FreshDatabase, folder: Path) -> None:
    async def endless_changes(peer: Peer) -> None:
        topic, ids = await join(peer)
        while True:
            await say_change(peer, topic, ids, str(uuid4()))

    async with scripted(endless_changes) as url:
        settings = settings_for(migrated.url, url)
        async with worker_process("run", folder=folder, settings=settings) as worker:
            await worker.event("handler.finished")
            worker.send(signal.SIGTERM)

            assert await worker.ends() == 0
            assert not worker.events("worker.undrained")
            assert worker.said[-1]["waiting"] == 0


async def test_it_stops_in_time_while_postgres_hangs_in_a_transaction(
    own_cluster: Cluster, folder: Path
) -> None:
    hung = asyncio.Event()

    async def change_once_hung(peer: Peer) -> None:
        topic, ids = await join(peer)
        await hung.wait()
        await say_change(peer, topic, ids)
        await be_realtime(peer)

    await prepare(own_cluster.url(role=SUPERUSER))
    await migrate(own_cluster.url())
    async with scripted(change_once_hung) as url:
        settings = settings_for(
            own_cluster.url(), url, DRAIN_SECONDS="3", HOST="127.0.0.1", PORT="0"
        )
        async with (
            worker_process("run", folder=folder, settings=settings) as worker,
            httpx.AsyncClient() as browser,
        ):
            port = (await worker.event("worker.starting"))["port"]
            await worker.event("worker.ready")
            with stopped(own_cluster):
                hung.set()
                await worker.event("handler.finished")
                began = time.monotonic()
                worker.send(signal.SIGTERM)
                await worker.event("worker.draining")
                answer = await browser.get(f"http://127.0.0.1:{port}/ready")

                assert answer.status_code == 503
                assert answer.json()["reasons"][0] == "the worker is draining"
                assert await ends_in_time(worker, began) == 0
                assert [line["event"] for line in worker.said][-2:] == [
                    "worker.undrained",
                    "worker.stopped",
                ]
                assert worker.said[-1]["waiting"] == 1, "it was read and is not committed"


async def test_it_stops_in_time_while_realtime_takes_connections_and_hangs(
    migrated: FreshDatabase, folder: Path
) -> None:
    async with doorway(None) as door:
        door.freeze()
        settings = settings_for(migrated.url, f"http://127.0.0.1:{door.port}")
        async with worker_process("run", folder=folder, settings=settings) as worker:
            await worker.event("worker.running")
            await door.knocked.wait()
            began = time.monotonic()
            worker.send(signal.SIGTERM)

            assert await ends_in_time(worker, began) == 0


async def test_it_stops_in_time_while_an_open_connection_to_realtime_is_half_open(
    migrated: FreshDatabase, supabase: str, folder: Path
) -> None:
    async with doorway(urlsplit(supabase).port) as door:
        settings = settings_for(migrated.url, f"http://127.0.0.1:{door.port}")
        async with worker_process("run", folder=folder, settings=settings) as worker:
            await worker.event("worker.ready")
            door.freeze()
            began = time.monotonic()
            worker.send(signal.SIGTERM)

            assert await ends_in_time(worker, began) == 0


HANGING = '''
"""A handler that blocks the whole event loop."""

import time

import structlog

from worker import Change, Effects, on


@on.change("public.leads")
async def stuck(change: Change, do: Effects) -> None:
    """It is never done, so nothing is written twice."""
    structlog.get_logger().warning("test.stuck")
    while True:
        time.sleep(60)
'''


async def test_a_blocked_event_loop_is_abandoned(migrated: FreshDatabase, folder: Path) -> None:
    (folder / "deployment" / "leads.py").write_text(HANGING)
    async with scripted(one_change) as url:
        settings = settings_for(migrated.url, url, DRAIN_SECONDS="0.5")
        async with worker_process("run", folder=folder, settings=settings) as worker:
            await worker.event("test.stuck")
            began = time.monotonic()
            worker.send(signal.SIGTERM)

            assert await ends_in_time(worker, began) == 0
            assert worker.said[-1]["event"] == "worker.abandoned"


LOOKING_UP = '''
"""A handler that leaves a thread behind, as the look-up of a host name does that hangs."""

import asyncio
import time

import structlog

from worker import Change, Effects, on


@on.change("public.leads")
async def stuck(change: Change, do: Effects) -> None:
    """It asks for nothing, so nothing is written twice."""
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)
    structlog.get_logger().warning("test.stuck")
'''


async def test_a_thread_that_hangs_is_not_waited_for(migrated: FreshDatabase, folder: Path) -> None:
    (folder / "deployment" / "leads.py").write_text(LOOKING_UP)
    async with scripted(one_change) as url:
        settings = settings_for(migrated.url, url)
        async with worker_process("run", folder=folder, settings=settings) as worker:
            await worker.event("test.stuck")
            began = time.monotonic()
            worker.send(signal.SIGTERM)

            assert await ends_in_time(worker, began) == 0
            assert worker.said[-1]["event"] == "worker.stopped"


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["term", "int"]
)
async def test_a_second_signal_ends_it_at_once(
    migrated: FreshDatabase, folder: Path, number: signal.Signals, status: int
) -> None:
    (folder / "deployment" / "leads.py").write_text(HANGING)
    async with scripted(one_change) as url:
        settings = settings_for(migrated.url, url, DRAIN_SECONDS="3600")
        async with worker_process("run", folder=folder, settings=settings) as worker:
            await worker.event("test.stuck")
            worker.send(signal.SIGTERM)
            await worker.event("signal.received")  # two of a kind would be one to the kernel
            worker.send(number)

            assert await worker.ends() == status
