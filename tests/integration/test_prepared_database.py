"""Is a prepared database like one of Supabase?"""

from __future__ import annotations

import asyncpg
import pytest

from local.database import prepare
from tests.support.databases import FreshDatabase

SUBJECT = "11111111-1111-4111-8111-111111111111"


async def test_postgres_owns_the_database_and_is_no_superuser(database: FreshDatabase) -> None:
    connection = await asyncpg.connect(database.url)

    assert await connection.fetchval("select current_user") == "postgres"
    assert not await connection.fetchval(
        "select rolsuper from pg_roles where rolname = current_user"
    )
    await connection.execute("create table public.things (id int primary key)")
    await connection.execute("alter publication supabase_realtime add table public.things")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("alter system set work_mem = '1MB'")
    await connection.close()


async def test_preparing_twice_changes_nothing(database: FreshDatabase) -> None:
    await prepare(database.admin_url)


async def test_the_claims_of_a_request_say_who_asks(database: FreshDatabase) -> None:
    connection = await asyncpg.connect(database.url)
    who = "select auth.uid()::text, auth.role(), auth.email(), auth.jwt() is null"

    assert tuple(await connection.fetchrow(who) or ()) == (None, None, None, True)
    async with connection.transaction():
        await connection.execute(
            "select set_config('request.jwt.claims', $1, true)",
            f'{{"sub": "{SUBJECT}", "role": "authenticated", "email": "ava@example.com"}}',
        )
        assert tuple(await connection.fetchrow(who) or ()) == (
            *(SUBJECT, "authenticated", "ava@example.com"),
            False,
        )
    assert tuple(await connection.fetchrow(who) or ()) == (None, None, None, True)
    await connection.close()


async def test_new_tables_are_open_to_the_roles_of_the_api(database: FreshDatabase) -> None:
    connection = await asyncpg.connect(database.url)
    await connection.execute("create table public.things (id int primary key)")

    for role in ("anon", "authenticated", "service_role"):
        assert await connection.fetchval(
            "select has_table_privilege($1, 'public.things', 'select, insert, update, delete')",
            role,
        )
    await connection.close()


async def test_messages_have_partitions_from_yesterday_to_in_three_days(
    database: FreshDatabase,
) -> None:
    connection = await asyncpg.connect(database.admin_url)

    await connection.execute("select realtime.keep_message_partitions('2031-03-01')")
    await connection.execute("select realtime.keep_message_partitions('2031-03-03')")

    leaves = await connection.fetchval(
        "select array_agg(inhrelid::regclass::text order by 1) from pg_inherits "
        "where inhparent = 'realtime.messages'::regclass"
    )
    days = ("02_28", "03_01", "03_02", "03_03", "03_04", "03_05", "03_06")
    assert leaves == [f"realtime.messages_2031_{day}" for day in days], "older than 72 h is gone"
    await connection.close()


async def test_without_a_policy_a_users_message_is_only_a_warning(database: FreshDatabase) -> None:
    connection = await asyncpg.connect(database.url)
    warnings: list[str] = []
    connection.add_log_listener(lambda _, said: warnings.append(said.message))

    async with connection.transaction():
        await connection.execute("set local role authenticated")
        await connection.execute("select realtime.send('{}', 'event', 'topic')")

    assert warnings == [
        "WarnSendingBroadcastMessage: "
        'new row violates row-level security policy for table "messages"'
    ]
    assert await connection.fetchval("select count(*) from realtime.messages") == 0
    await connection.close()


async def test_binary_messages_are_stored_as_they_are(database: FreshDatabase) -> None:
    connection = await asyncpg.connect(database.url)

    await connection.execute("select realtime.send_binary($1, 'event', 'topic')", b"\x00\xff")

    row = await connection.fetchrow(
        "select payload, binary_payload, private from realtime.messages"
    )
    assert tuple(row or ()) == (None, b"\x00\xff", True)
    await connection.close()


async def test_a_float_is_written_as_by_supabases_image(database: FreshDatabase) -> None:
    connection = await asyncpg.connect(database.url)
    written = await connection.fetchval("select jsonb_build_object('v', 0.1::float8 + 0.2)")
    await connection.close()

    assert written == '{"v": 0.3}'
