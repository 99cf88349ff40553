"""Is a beat written where Realtime can see it, and is it said where it cannot?"""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from local.postgres import Cluster
from tests.support.databases import FreshDatabase, administering, cloned
from worker.db import Database
from worker.db.beats import Row
from worker.db.migrate import default_directory, migrate
from worker.errors import DatabaseAway


async def test_each_worker_has_one_row_of_its_own(
    pool: Database, connection: asyncpg.Connection
) -> None:
    one, other = Row(pool, "one"), Row(pool, "other")
    for number in (1, 2, 3):
        assert await one.write(number) is None
    assert await other.write(1) is None

    rows = await connection.fetch("select worker, number from tidemark.beats order by worker")
    assert [tuple(row) for row in rows] == [("one", 3), ("other", 1)]


async def test_rows_of_workers_that_are_no_more_are_removed(
    pool: Database, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "insert into tidemark.beats (worker, number, beaten_at) values"
        " ('old', 1, now() - interval '2 days'), ('young', 1, now() - interval '2 hours')"
    )
    await Row(pool, "one").write(1)

    rows = await connection.fetch("select worker from tidemark.beats order by worker")
    assert [row["worker"] for row in rows] == ["one", "young"]


async def test_many_workers_may_beat_and_tidy_up_at_once(
    pool: Database, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "insert into tidemark.beats (worker, number, beaten_at)"
        " select 'old' || n, 1, now() - interval '2 days' from generate_series(1, 50) n"
    )
    await asyncio.gather(*(Row(pool, f"new{n}").write(1) for n in range(20)))

    assert await connection.fetchval("select count(*) from tidemark.beats") == 20


async def test_a_beat_is_published_without_its_old_row(connection: asyncpg.Connection) -> None:
    published = await connection.fetchval(
        "select count(*) from pg_publication_tables"
        " where pubname = 'supabase_realtime' and schemaname = 'tidemark'"
    )
    identity = await connection.fetchval(
        "select relreplident::text from pg_class where oid = 'tidemark.beats'::regclass"
    )

    assert (published, identity) == (1, "d")


@pytest.mark.parametrize(
    ("role", "may"), [("service_role", True), ("authenticated", True), ("anon", False)]
)
async def test_the_worker_s_roles_may_read_beats_and_nothing_else_of_its_own(
    connection: asyncpg.Connection, role: str, may: bool
) -> None:
    tables = await connection.fetch(
        "select relname, has_table_privilege($1, oid, 'select') as readable,"
        " has_table_privilege($1, oid, 'insert, update, delete') as writable"
        " from pg_class where relnamespace = 'tidemark'::regnamespace and relkind = 'r'",
        role,
    )

    assert [row["relname"] for row in tables if row["readable"]] == (["beats"] if may else [])
    assert not any(row["writable"] for row in tables)


async def test_a_database_that_is_not_the_project_s_is_told_from_one_that_is_away(
    cluster: Cluster,
) -> None:
    async with administering(cluster) as admin:
        await admin.execute("create database template_neon owner postgres")
    async with cloned(cluster, "template_neon") as neon:
        pool = Database(neon.url, size=1)
        beats = Row(pool, "one")
        assert await beats.write(1) == (
            "there is no table tidemark.beats: run python -m worker migrate"
        )
        await migrate(neon.url, default_directory())
        assert await beats.write(2) == (
            "DATABASE_URL has no publication supabase_realtime: it is not the project's database"
        )
        await pool.close()
    async with administering(cluster) as admin:
        await admin.execute("drop database template_neon")


@pytest.mark.parametrize(
    "change",
    [
        "alter publication supabase_realtime drop table tidemark.beats",
        "alter publication supabase_realtime set (publish = 'insert')",
    ],
)
async def test_a_publication_without_the_beats_is_said(
    pool: Database, connection: asyncpg.Connection, change: str
) -> None:
    beats = Row(pool, "one")
    assert await beats.write(1) is None
    await connection.execute(change)

    assert await beats.write(2) == (
        "the publication supabase_realtime does not carry tidemark.beats"
    )


async def test_a_publication_for_all_tables_carries_them(
    pool: Database, connection: asyncpg.Connection, migrated: FreshDatabase
) -> None:
    admin = await asyncpg.connect(migrated.admin_url)
    await admin.execute("drop publication supabase_realtime")
    await admin.execute("create publication supabase_realtime for all tables")
    await admin.close()

    assert await Row(pool, "one").write(1) is None


async def test_a_database_that_takes_no_beat_is_away(
    pool: Database, connection: asyncpg.Connection
) -> None:
    await connection.execute("alter table tidemark.beats add check (number < 2)")
    beats = Row(pool, "one")
    await beats.write(1)

    with pytest.raises(DatabaseAway, match="refuses the beat: CheckViolationError 23514"):
        await beats.write(2)
    await pool.close()
    with pytest.raises(DatabaseAway, match="closed"):
        await beats.write(3)
