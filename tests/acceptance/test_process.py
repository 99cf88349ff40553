"""Does the process start, stop and wait as its operator was promised?"""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import httpx
import pytest

from local.database import prepare
from local.postgres import SUPERUSER, Cluster
from tests.acceptance.process import WorkerProcess, worker_process
from tests.acceptance.realtime import be_realtime, join, one_change, say_change
from tests.integration.scripted import Peer, scripted
from tests.support.databases import FreshDatabase
from tests.support.doorway import doorway
from tests.support.servers import own_cluster, stopped
from worker.db.migrate import migrate

GRACE = 10.0  # seconds from SIGTERM to SIGKILL on most platforms

HANDLERS = '''
"""What the tests' deployment does about events."""

from worker import Change, Effects, on


@on.change("public.leads", "INSERT", "UPDATE")
async def lead_kept(change: Change, do: Effects) -> None:
    """The change's id keeps it from being written twice."""
    do.audit(change)
'''

__all__ = ["own_cluster"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder the process runs in, with a package of handlers named `deployment`."""
    (tmp_path / "deployment").mkdir()
    (tmp_path / "deployment" / "__init__.py").write_text('"""Handlers."""\n')
    (tmp_path / "deployment" / "leads.py").write_text(HANDLERS)
    return tmp_path


@pytest.fixture
async def supabase() -> AsyncIterator[str]:
    async with scripted(be_realtime) as url:
        yield url


def settings_for(database_url: str, supabase_url: str, **more: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "SUPABASE_URL": supabase_url,
        "SUPABASE_KEY": "sb_secret_hunter2",
        "HANDLERS": "deployment",
        "SINKS": "log",
        **more,
    }


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
        settings = settings_for(own_cluster.url(), url, DRAIN_SECONDS="3")
        async with worker_process("run", folder=folder, settings=settings) as worker:
            await worker.event("worker.ready")
            with stopped(own_cluster):
                hung.set()
                await worker.event("handler.finished")
                began = time.monotonic()
                worker.send(signal.SIGTERM)

                assert await ends_in_time(worker, began) == 0
                assert [line["event"] for line in worker.said][-2:] == [
                    "worker.undrained",
                    "worker.stopped",
                ]


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


async def test_a_database_without_the_migrations_is_not_ready(
    database: FreshDatabase, supabase: str, folder: Path
) -> None:
    settings = settings_for(database.url, supabase)
    async with worker_process("run", folder=folder, settings=settings) as worker:
        missing = await worker.event("migrations.missing")
        assert missing["names"]
        await worker.event("channel.ready")
        assert not worker.events("worker.ready")

        assert await migrate(database.url) == missing["names"]
        await worker.event("worker.ready")


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


async def test_realtime_may_come_later(
    migrated: FreshDatabase, supabase: str, folder: Path
) -> None:
    async with doorway(urlsplit(supabase).port) as door:
        await door.shut()
        settings = settings_for(migrated.url, f"http://127.0.0.1:{door.port}")
        async with worker_process("run", folder=folder, settings=settings) as worker:
            await worker.event("connection.lost")
            assert not worker.events("worker.ready")
            await door.open()
            await worker.event("worker.ready")
            worker.send(signal.SIGTERM)

            assert await worker.ends() == 0


async def test_the_database_may_come_later(
    cluster: Cluster, migrated: FreshDatabase, supabase: str, folder: Path
) -> None:
    async with doorway(cluster.port) as door:
        await door.shut()
        url = migrated.url.replace(f":{cluster.port}/", f":{door.port}/")
        settings = settings_for(url, supabase)
        async with worker_process("run", folder=folder, settings=settings) as worker:
            away = await worker.event("database.away")
            assert "refused" in away["reason"] or "Connect call failed" in away["reason"]
            await worker.event("channel.ready")
            assert not worker.events("worker.ready")
            await door.open()
            await worker.event("database.back")
            await worker.event("worker.ready")
            assert len(worker.events("database.away")) == 1
            worker.send(signal.SIGTERM)

            assert await worker.ends() == 0


async def test_the_pages_say_what_keeps_it_from_being_ready(
    migrated: FreshDatabase, supabase: str, folder: Path
) -> None:
    async with doorway(urlsplit(supabase).port) as door:
        await door.shut()
        url = f"http://127.0.0.1:{door.port}"
        settings = settings_for(migrated.url, url, HOST="127.0.0.1", PORT="0")
        async with (
            worker_process("run", folder=folder, settings=settings) as worker,
            httpx.AsyncClient() as browser,
        ):
            port = (await worker.event("worker.starting"))["port"]
            await worker.event("connection.lost")
            pages = f"http://127.0.0.1:{port}"
            assert (await browser.get(f"{pages}/live")).status_code == 200
            refused = await browser.get(f"{pages}/ready")
            assert refused.status_code == 503
            assert "there is no connection to Realtime" in refused.json()["reasons"]

            await door.open()
            await worker.event("worker.ready")
            accepted = await browser.get(f"{pages}/ready")
            assert (accepted.status_code, accepted.json()["reasons"]) == (200, [])
            numbers = (await browser.get(f"{pages}/metrics")).text
            assert "tidemark_ready 1.0" in numbers
            worker.send(signal.SIGTERM)

            assert await worker.ends() == 0
            assert worker.text == ""


async def test_a_port_that_is_taken_is_told(
    migrated: FreshDatabase, supabase: str, folder: Path
) -> None:
    taken = urlsplit(supabase).port
    settings = settings_for(migrated.url, supabase, HOST="127.0.0.1", PORT=str(taken))
    async with worker_process("run", folder=folder, settings=settings) as worker:
        assert await worker.ends() == 1
        assert worker.text.startswith(f"tidemark: port {taken} of 127.0.0.1 cannot be served")
        assert "Traceback" not in worker.text


async def test_every_wrong_setting_is_named_at_once(folder: Path) -> None:
    settings = {
        "DATABASE_URL": "mysql://me:hunter2@h/d",
        "SINKS": "log,pigeon",
        "DB_POOL_SIZE": "x",
        "PORT": "99999",
    }
    async with worker_process("run", folder=folder, settings=settings) as worker:
        assert await worker.ends() == 78
        assert [line.split()[1].rstrip(":") for line in worker.text.splitlines()] == [
            "DATABASE_URL",
            "SUPABASE_URL",
            "SUPABASE_KEY",
            "SINKS",
            "DB_POOL_SIZE",
            "PORT",
        ]
        assert "Traceback" not in worker.text
        assert "hunter2" not in worker.text


async def test_a_handler_that_does_not_import_stops_the_start(folder: Path) -> None:
    (folder / "deployment" / "broken.py").write_text('"""Broken."""\nimport nowhere_to_be_found\n')
    (folder / "deployment" / "torn.py").write_text("def torn(:\n")
    settings = settings_for("postgres://me@127.0.0.1:1/d", "http://127.0.0.1:1")
    async with worker_process("run", folder=folder, settings=settings) as worker:
        assert await worker.ends() == 78
        assert "tidemark: deployment.broken does not import: ModuleNotFoundError" in worker.text
        assert "tidemark: deployment.torn does not import: SyntaxError" in worker.text
        assert "Traceback" not in worker.text
        assert worker.said == []


async def test_a_part_that_crashes_ends_the_process(
    migrated: FreshDatabase, supabase: str, folder: Path
) -> None:
    """A metric that is already there is the nearest thing to a bug of our own."""
    (folder / "deployment" / "leads.py").write_text(HANDLERS + SABOTAGE)
    settings = settings_for(migrated.url, supabase)
    async with worker_process("run", folder=folder, settings=settings) as worker:
        assert await worker.ends() == 1
        failed = await worker.event("part.failed", part="readiness-watch")
        assert "AttributeError" in failed["exception"]
        assert worker.events("worker.failed")


SABOTAGE = """

from worker import metrics

metrics.ready = None
"""


CLINGING = '''
"""A handler that breaks a part of the worker and does not let itself be cancelled."""

import asyncio

from worker import Change, Effects, on
from worker.ops import health


@on.change("public.leads")
async def clinging(change: Change, do: Effects) -> None:
    """It is never done, so nothing is written twice."""
    health.LOOK_SECONDS = "soon"
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
'''


async def test_no_half_of_it_survives_a_crash(migrated: FreshDatabase, folder: Path) -> None:
    (folder / "deployment" / "leads.py").write_text(CLINGING)
    async with scripted(one_change) as url:
        settings = settings_for(migrated.url, url, DRAIN_SECONDS="0.5")
        async with worker_process("run", folder=folder, settings=settings) as worker:
            assert await worker.ends() == 1
            assert worker.said[-1]["event"] == "worker.abandoned"
            assert worker.events("part.failed")


REPEATED = 3
KINDS = [
    "empty",
    "no data",
    "not a list",
    "not json",
    "not utf-8",
    "too short",
    "unknown event",
    "wrong types",
]


def broken_frames(topic: str) -> list[str | bytes]:
    huge = "x" * (4 * 1024 * 1024)
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
