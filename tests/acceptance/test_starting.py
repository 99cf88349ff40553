"""Does the process wait for what is away, and refuse what is wrong?"""

from __future__ import annotations

import signal
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from local.postgres import Cluster
from tests.acceptance.deployment import settings_for
from tests.acceptance.process import worker_process
from tests.acceptance.realtime import one_change
from tests.integration.scripted import scripted
from tests.support.databases import FreshDatabase
from tests.support.doorway import doorway
from worker.db.migrate import migrate


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


async def test_a_database_that_takes_nothing_is_not_ready(
    migrated: FreshDatabase, folder: Path
) -> None:
    """It answers all the same: after a failover it is read-only for a while."""
    async with scripted(one_change) as url, httpx.AsyncClient() as browser:
        read_only = {"DATABASE_URL": f"{migrated.url}?options=-cdefault_transaction_read_only%3Don"}
        settings = {**settings_for(migrated.url, url, HOST="127.0.0.1", PORT="0"), **read_only}
        async with worker_process("run", folder=folder, settings=settings) as worker:
            port = (await worker.event("worker.starting"))["port"]
            await worker.event("lane.waiting")
            answer = await browser.get(f"http://127.0.0.1:{port}/ready")

            assert answer.status_code == 503
            assert "25006" in " ".join(answer.json()["reasons"])
            assert not worker.events("dead_letter.stored")


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
    secret = "raise OSError('postgres://me:hunter2@host/d')\n"
    (folder / "deployment" / "telling.py").write_text(secret)
    settings = settings_for("postgres://me@127.0.0.1:1/d", "http://127.0.0.1:1")
    async with worker_process("run", folder=folder, settings=settings) as worker:
        assert await worker.ends() == 78
        assert "tidemark: deployment.broken does not import: ModuleNotFoundError" in worker.text
        assert "tidemark: deployment.torn does not import: SyntaxError" in worker.text
        assert "tidemark: deployment.telling does not import: OSError" in worker.text
        assert "hunter2" not in worker.text
        assert "Traceback" not in worker.text
        assert worker.said == []
