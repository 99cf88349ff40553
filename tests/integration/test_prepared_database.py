"""Is a prepared database like one of Supabase?"""

from __future__ import annotations

import asyncpg
import pytest

from local.database import prepare
from tests.support.databases import FreshDatabase


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
