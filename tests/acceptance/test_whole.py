"""Does a change in the database come out as an audit row, and as a broadcast on a page?"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import asyncpg

from tests.acceptance.process import HANG_SECONDS, worker_process
from tests.support.databases import FreshDatabase
from tests.support.sockets import Heard, client, served, token


async def write(database: FreshDatabase) -> None:
    """Have an agent come, and a lead that comes, moves and goes."""
    connection = await asyncpg.connect(database.url)
    try:
        agent = await connection.fetchval(
            "insert into agents (name, email) values ('Ada', 'ada@example.com') returning id"
        )
        lead = await connection.fetchval(
            "insert into leads (first_name, last_name, email) values ('A', 'B', 'a@example.com')"
            " returning id"
        )
        await connection.execute("update leads set assigned_agent = $1 where id = $2", agent, lead)
        await connection.execute("update leads set status = 'won' where id = $1", lead)
        await connection.execute("delete from leads where id = $1", lead)
    finally:
        await connection.close()


async def audit(database: FreshDatabase) -> list[tuple[str, str]]:
    connection = await asyncpg.connect(database.url)
    try:
        rows = await connection.fetch("select table_name, action from audit_logs order by seq")
    finally:
        await connection.close()
    return [(row["table_name"], row["action"]) for row in rows]


async def test_changes_are_audited_once_and_in_order(
    migrated: FreshDatabase, tmp_path: Path
) -> None:
    async with served(migrated) as server:
        settings = {
            "DATABASE_URL": migrated.url,
            "SUPABASE_URL": server.url,
            "SUPABASE_KEY": token(),
        }
        async with worker_process("run", folder=tmp_path, settings=settings) as worker:
            await worker.event("worker.ready")
            await write(migrated)
            after = 0
            for _ in range(5):
                line = await worker.event(
                    "handler.finished", after=after, handler="audit.write_down"
                )
                after = line["place"] + 1
            worker.send(signal.SIGTERM)

            assert await worker.ends() == 0, worker.story()
            assert token() not in worker.story()
            assert "ada@example.com" not in worker.story()
    assert await audit(migrated) == [
        ("agents", "INSERT"),
        ("leads", "INSERT"),
        ("leads", "UPDATE"),
        ("leads", "UPDATE"),
        ("leads", "DELETE"),
    ]


async def test_a_notification_reaches_the_page_of_whom_it_concerns(
    migrated: FreshDatabase, tmp_path: Path
) -> None:
    async with served(migrated) as server:
        settings = {
            "DATABASE_URL": migrated.url,
            "SUPABASE_URL": server.url,
            "SUPABASE_KEY": token(),
            "SINKS": "broadcast",
        }
        async with (
            worker_process("run", folder=tmp_path, settings=settings) as worker,
            client(server, "1.0.0") as page,  # where a broadcast is text
        ):
            await worker.event("worker.ready")
            agent = await add_agent(migrated)
            joined = await page.join(f"realtime:agent:{agent}", token=token(), private=True)
            assert joined.payload["status"] == "ok", joined
            await add_lead(migrated, agent)

            async with asyncio.timeout(HANG_SECONDS):
                heard: Heard = await page.event("broadcast")
            assert heard.payload["event"] == "lead-assigned"
            assert heard.payload["payload"]["name"] == "Bea C"
            assert heard.payload["payload"]["notification_id"]


async def add_agent(database: FreshDatabase) -> str:
    connection = await asyncpg.connect(database.url)
    try:
        return str(
            await connection.fetchval(
                "insert into agents (name, email) values ('Ada', 'ada@example.com') returning id"
            )
        )
    finally:
        await connection.close()


async def add_lead(database: FreshDatabase, agent: str) -> None:
    connection = await asyncpg.connect(database.url)
    try:
        await connection.execute(
            "insert into leads (first_name, last_name, assigned_agent) values ('Bea', 'C', $1)",
            agent,
        )
    finally:
        await connection.close()
