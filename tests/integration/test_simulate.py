"""Does the simulator write what it says it wrote?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from local.simulate.traffic import TABLES, Summary, simulate
from tests.support.databases import FreshDatabase
from worker.errors import CommandFailed

COUNTED = """
create table public.truth (seq bigint generated always as identity, table_name text, action text);
create function public.write_truth() returns trigger language plpgsql as $$
begin
    insert into public.truth (table_name, action) values (tg_table_name, tg_op);
    return null;
end
$$;
"""


@pytest_asyncio.fixture
async def watching(migrated: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database that counts its own changes, in the writers' transactions."""
    connection = await asyncpg.connect(migrated.url)
    await connection.execute(COUNTED)
    for table in TABLES:
        await connection.execute(
            f"create trigger truth after insert or update or delete on public.{table} "
            "for each row execute function public.write_truth()"
        )
    yield connection
    await connection.close()


async def simulated(
    database: FreshDatabase, *, rate: float, seconds: float, stopping: asyncio.Event | None = None
) -> Summary:
    return await simulate(
        database.url,
        rate=rate,
        seconds=seconds,
        seed=11,
        stopping=stopping or asyncio.Event(),
    )


async def test_committed_changes_are_the_rate_and_what_the_summary_says(
    migrated: FreshDatabase, watching: asyncpg.Connection
) -> None:
    summary = await simulated(migrated, rate=200.0, seconds=3.0)

    changes = await watching.fetchval("select count(*) from truth")
    assert summary.changes.total() == changes
    assert changes == pytest.approx(600, rel=0.1)
    assert summary.rolled_back and summary.savepoints_undone and not summary.late


async def test_what_is_rolled_back_leaves_nothing(
    migrated: FreshDatabase, watching: asyncpg.Connection
) -> None:
    summary = await simulated(migrated, rate=300.0, seconds=2.0)

    for table, created in (
        ("leads", ("lead.created", "lead.imported")),
        ("events", ("event.logged",)),
        ("approvals", ("approval.asked",)),
    ):
        inserted = await watching.fetchval(
            "select count(*) from truth where table_name = $1 and action = 'INSERT'", table
        )
        assert inserted == sum(summary.kinds[kind] for kind in created)
    assert summary.rolled_back > 5


async def test_every_table_sees_every_action_it_can(
    migrated: FreshDatabase, watching: asyncpg.Connection
) -> None:
    await simulated(migrated, rate=500.0, seconds=2.0)

    rows = await watching.fetch("select distinct table_name, action from truth")
    seen = {(row["table_name"], row["action"]) for row in rows}
    assert seen >= {
        *(
            (table, action)
            for table in ("leads", "events")
            for action in ("INSERT", "UPDATE", "DELETE")
        ),
        *((table, action) for table in ("agents", "approvals") for action in ("INSERT", "UPDATE")),
    }


async def test_agents_that_are_there_are_used(migrated: FreshDatabase) -> None:
    await simulated(migrated, rate=20.0, seconds=0.5)
    again = await simulated(migrated, rate=20.0, seconds=0.5)

    assert "agent.hired" not in again.kinds


async def test_it_stops_when_told_to(migrated: FreshDatabase) -> None:
    stopping = asyncio.Event()
    stopping.set()

    async with asyncio.timeout(10):
        summary = await simulated(migrated, rate=1.0, seconds=3600.0, stopping=stopping)

    assert summary.committed == 0


async def test_a_database_without_the_tables_is_told_apart(database: FreshDatabase) -> None:
    with pytest.raises(CommandFailed, match="worker migrate"):
        await simulated(database, rate=1.0, seconds=1.0)


async def test_a_database_that_is_not_there_is_told_apart(migrated: FreshDatabase) -> None:
    absent = FreshDatabase("", migrated.url.rpartition("/")[0] + "/nothing", "")

    with pytest.raises(CommandFailed, match="nothing"):
        await simulated(absent, rate=1.0, seconds=1.0)
