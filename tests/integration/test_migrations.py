"""Do the project's migrations make the tables that were promised, and keep their rules?"""

from __future__ import annotations

import asyncio
from uuid import UUID

import asyncpg
import pytest

from local.postgres import Cluster
from tests.support.databases import FreshDatabase, administering, cloned
from worker.db.migrate import default_directory, migrate

ROUTED = ("agents", "approvals", "events", "leads")


async def approval(connection: asyncpg.Connection) -> UUID:
    found = await connection.fetchval(
        "insert into approvals (kind, subject) values ('discount', 'two percent') returning id"
    )
    assert isinstance(found, UUID)
    return found


async def test_a_second_run_changes_nothing(migrated: FreshDatabase) -> None:
    assert await migrate(migrated.url, default_directory()) == []


async def test_they_run_on_a_bare_postgres_without_supabase(cluster: Cluster) -> None:
    async with administering(cluster) as admin:
        await admin.execute("create database template_bare owner postgres")
    async with cloned(cluster, "template_bare") as bare:
        assert len(await migrate(bare.url, default_directory())) >= 4
    async with administering(cluster) as admin:
        await admin.execute("drop database template_bare")


async def test_the_four_routed_tables_are_published_with_their_whole_rows_and_beats_are_too(
    connection: asyncpg.Connection,
) -> None:
    published = await connection.fetch(
        "select tablename from pg_publication_tables where pubname = 'supabase_realtime'"
    )
    identities = await connection.fetch(
        "select relname from pg_class"
        " where relreplident = 'f' and relnamespace = 'public'::regnamespace"
    )

    assert sorted(row["tablename"] for row in published) == sorted([*ROUTED, "beats"])
    assert sorted(row["relname"] for row in identities) == list(ROUTED)


async def test_an_approval_is_asked_as_pending(connection: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="starts as pending, not as approved"):
        await connection.execute(
            "insert into approvals (kind, subject, status) values ('a', 'b', 'approved')"
        )


@pytest.mark.parametrize("decision", ["approved", "rejected", "expired", "cancelled"])
async def test_an_approval_is_decided_once(connection: asyncpg.Connection, decision: str) -> None:
    asked = await approval(connection)
    await connection.execute("update approvals set status = $2 where id = $1", asked, decision)

    row = await connection.fetchrow("select * from approvals where id = $1", asked)
    assert row is not None and row["status"] == decision and row["decided_at"] is not None
    for other in ("pending", "approved", "rejected", "expired", "cancelled"):
        if other != decision:
            with pytest.raises(asyncpg.CheckViolationError, match=f"is already {decision}"):
                await connection.execute(
                    "update approvals set status = $2 where id = $1", asked, other
                )
    await connection.execute("update approvals set note = 'seen' where id = $1", asked)


async def test_an_approval_knows_no_other_status(connection: asyncpg.Connection) -> None:
    asked = await approval(connection)

    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute("update approvals set status = 'maybe' where id = $1", asked)


async def test_of_two_people_deciding_at_once_one_wins_and_the_other_is_told(
    migrated: FreshDatabase, connection: asyncpg.Connection
) -> None:
    asked = await approval(connection)
    second = await asyncpg.connect(migrated.url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("update approvals set status = 'approved' where id = $1", asked)
        waiting = asyncio.create_task(
            second.execute("update approvals set status = 'rejected' where id = $1", asked)
        )
        blocked = "select cardinality(pg_blocking_pids($1)) > 0"
        while not await connection.fetchval(blocked, second.get_server_pid()):
            pass
        await transaction.commit()

        with pytest.raises(asyncpg.CheckViolationError, match="is already approved"):
            await waiting
    finally:
        await second.close()


async def test_updated_at_of_a_row_only_grows(connection: asyncpg.Connection) -> None:
    async with connection.transaction():  # now() stands still in here
        agent = await connection.fetchrow("insert into agents (name) values ('A') returning *")
        assert agent is not None
        grow = "update agents set capacity = capacity + 1 returning updated_at"
        times = [agent["updated_at"], *[await connection.fetchval(grow) for _ in range(3)]]

    assert times == sorted(set(times))


async def test_a_user_with_audit_rows_can_be_deleted(connection: asyncpg.Connection) -> None:
    user = await connection.fetchval(
        "insert into users (email, password_hash) values ('a@b.example', 'x') returning id"
    )
    await connection.execute(
        "insert into audit_logs (event_id, table_name, record_id, action, user_id, actor)"
        " values (gen_random_uuid(), 'leads', gen_random_uuid(), 'INSERT', $1, 'a@b.example')",
        user,
    )
    await connection.execute("delete from users")

    kept = await connection.fetchrow("select user_id, actor from audit_logs")
    assert kept is not None and tuple(kept) == (None, "a@b.example")


async def test_the_key_in_every_browser_reads_nothing(migrated: FreshDatabase) -> None:
    admin = await asyncpg.connect(migrated.admin_url)
    try:
        await admin.execute("set role anon")
        for table in (*ROUTED, "users", "user_profiles", "audit_logs"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await admin.execute(f"select from public.{table}")
    finally:
        await admin.close()
