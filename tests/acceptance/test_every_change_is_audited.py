"""Does every committed change get exactly one audit row, in the order of commits for each row?"""

from __future__ import annotations

import asyncio
import itertools
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest

from tests.acceptance.process import worker_process
from tests.support.databases import FreshDatabase
from tests.support.sockets import served, token

RATE, SECONDS = 200, 30
ENOUGH = RATE * SECONDS * 0.8
HANG = 60.0
TABLES = ("leads", "approvals", "events", "agents")

History = Mapping[tuple[str, UUID], list[tuple[str, Any, Any]]]

# The truth is written in the writer's own transaction and by nothing of ours: what was rolled
# back is not in it. `txid` and `seq` give the order: a row's changes are ordered by its lock.
TRUTH = """
create table public.test_truth (
    seq bigint generated always as identity, tab text, id uuid, op text, before jsonb, after jsonb
);
create function public.test_truth() returns trigger language plpgsql set timezone = 'UTC' as $$
declare
    before jsonb := case tg_op when 'INSERT' then null else to_jsonb(old) end;
    after jsonb := case tg_op when 'DELETE' then null else to_jsonb(new) end;
begin
    insert into public.test_truth (tab, id, op, before, after)
    values (tg_table_name, (coalesce(after, before) ->> 'id')::uuid, tg_op, before, after);
    return null;
end
$$;
"""
WATCH = """
create trigger zzz_test_truth after insert or update or delete on public.{}
    for each row execute function public.test_truth()
"""
# Told when the marker, the last change of all, has its audit row.
MARKER = """
create function public.test_marker() returns trigger language plpgsql as $$
begin
    perform pg_notify('marker', new.record_id::text);
    return null;
end
$$;
create trigger test_marker after insert on public.audit_logs
    for each row when (new.record_id = '{}') execute function public.test_marker();
"""


@asynccontextmanager
async def watching(database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.url)
    try:
        await connection.set_type_codec(
            "jsonb", schema="pg_catalog", encoder=orjson.dumps, decoder=orjson.loads
        )
        await connection.execute(TRUTH)
        for table in TABLES:
            await connection.execute(WATCH.format(table))
        yield connection
    finally:
        await connection.close()


async def simulate(database: FreshDatabase, seed: int) -> int:
    """Let `python -m local simulate` write; return how many changes it made."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "local", "simulate", "--json", "--seed", str(seed)),
        *("--rate", str(RATE), "--for", str(SECONDS), "--database-url", database.url),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS + HANG):
        out, _ = await process.communicate()
    assert process.returncode == 0
    return int(orjson.loads(out)["changes"])


async def make_traffic(database: FreshDatabase) -> None:
    """Write for half a minute; on a machine too busy for the rate again, until it is enough."""
    made = 0
    for seed in itertools.count(7):
        made += await simulate(database, seed)
        if made >= ENOUGH:
            return


async def last_change_audited(connection: asyncpg.Connection) -> None:
    """Make one more change and return when its audit row is committed: all before it are, too."""
    audited = asyncio.Event()
    marker = uuid4()
    await connection.add_listener("marker", lambda *_: audited.set())
    await connection.execute(MARKER.format(marker))
    await connection.execute("insert into agents (id, name) values ($1, 'the last')", marker)
    async with asyncio.timeout(HANG):
        await audited.wait()
    await connection.reset()


async def history(connection: asyncpg.Connection, query: str) -> History:
    """Read (table, row) → its changes in order, each (kind, row before, row after)."""
    changes: dict[tuple[str, UUID], list[tuple[str, Any, Any]]] = defaultdict(list)
    for tab, row_id, op, before, after in await connection.fetch(query):
        changes[tab, row_id].append((op, before, after))
    return changes


@pytest.mark.timeout(4 * SECONDS + 4 * HANG)
async def test_every_change_has_one_audit_row_in_order(
    migrated: FreshDatabase, tmp_path: Path
) -> None:
    async with served(migrated) as server, watching(migrated) as connection:
        settings = {
            "DATABASE_URL": migrated.url,
            "SUPABASE_URL": server.url,
            "SUPABASE_KEY": token("service_role"),
            "HANDLERS": "handlers",
        }
        async with worker_process("run", folder=tmp_path, settings=settings) as worker:
            await worker.event("worker.ready")
            await make_traffic(migrated)
            await last_change_audited(connection)
            worker.send(signal.SIGTERM)
            assert await worker.ends() == 0

        truth = await history(
            connection, "select tab, id, op, before, after from test_truth order by seq"
        )
        audit = await history(
            connection,
            "select split_part(table_name, '.', -1), record_id, action, old_data, new_data "
            "from audit_logs order by seq",
        )

    kinds = Counter(op for changes in truth.values() for op, _, _ in changes)
    total = kinds.total()
    print(f"{total} changes of {len(truth)} rows: {dict(kinds)}")
    assert set(kinds) == {"INSERT", "UPDATE", "DELETE"}
    assert total >= ENOUGH
    assert audit.keys() == truth.keys()
    assert [row for row in truth if audit[row] != truth[row]] == []
