"""Does the slot see the tables of `supabase_realtime`, all of each row, and no others?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from tests.support.changes import listening
from tests.support.databases import FreshDatabase
from tests.support.goldens import execute
from tests.support.sockets import client, served

ALL = {"event": "*", "schema": "*"}


@pytest_asyncio.fixture
async def session(database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.url)
    await execute(
        connection,
        [
            "create table items (id int primary key, title text)",
            "create table others (id int primary key, title text)",
        ],
    )
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    ("publication", "seen"),
    [
        ("add table items", [("items", "a")]),
        ("add table items where (id > 5)", [("items", "a")]),
        ("add table items (id)", [("items", "a")]),
        ("set (publish = 'update')", []),
    ],
)
async def test_rows_are_seen_whatever_the_publication_leaves_out(
    publication: str,
    seen: list[tuple[str, str]],
    session: asyncpg.Connection,
    database: FreshDatabase,
) -> None:
    await session.execute("alter publication supabase_realtime add table others")
    await session.execute(f"alter publication supabase_realtime {publication}")
    async with listening(database.admin_url) as listener:
        await listener.subscribe(ALL)
        await session.execute("insert into items values (1, 'a')")
        changes = await listener.heard(session)

    assert [(one["table"], one["record"]["title"]) for one in changes] == seen


async def test_an_unpublished_table_may_be_without_an_identity(
    session: asyncpg.Connection,
) -> None:
    await session.execute("create table keyless (n int)")
    await session.execute("insert into keyless values (1)")

    await session.execute("update keyless set n = 2")
    await session.execute("alter publication supabase_realtime add table keyless")

    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="replica identity"):
        await session.execute("update keyless set n = 3")


async def test_the_slots_publication_is_followed_through_every_change(
    session: asyncpg.Connection,
) -> None:
    async def tables() -> list[str]:
        rows = await session.fetch(
            "select tablename from pg_publication_tables"
            " where pubname = 'tidemark_local' order by 1"
        )
        return [row["tablename"] for row in rows]

    await session.execute("alter publication supabase_realtime add table items")
    assert await tables() == ["items"]
    await session.execute("alter publication supabase_realtime set table items, others")
    assert await tables() == ["items", "others"]
    await session.execute("alter publication supabase_realtime rename to something_else")
    assert await tables() == []
    await session.execute("create publication supabase_realtime for table others")
    assert await tables() == ["others"]
    await session.execute("drop table others")
    assert await tables() == []
    await session.execute("drop publication supabase_realtime")
    assert await tables() == []


async def test_a_table_added_later_is_found_by_who_asked_for_all(
    session: asyncpg.Connection, database: FreshDatabase
) -> None:
    changed = asyncio.Event()
    await session.execute("alter publication supabase_realtime add table items")
    async with listening(
        database.admin_url, publication_changed=changed.set, publication_check=0.0
    ) as listener:
        await listener.subscribe(ALL)
        await session.execute("alter publication supabase_realtime add table others")
        await asyncio.wait_for(changed.wait(), 10)
        await session.execute("insert into others values (1, 'b')")
        changes = await listener.heard(session)

    assert [one["table"] for one in changes] == ["others"]


async def test_a_table_added_later_stays_unseen_until_the_publication_is_looked_at(
    session: asyncpg.Connection, database: FreshDatabase
) -> None:
    await session.execute("alter publication supabase_realtime add table items")
    async with listening(database.admin_url) as listener:
        await listener.subscribe(ALL)
        await session.execute("alter publication supabase_realtime add table others")
        await session.execute("insert into others values (1, 'b')")
        await session.execute("alter publication supabase_realtime drop table items")
        await session.execute("insert into items values (1, 'a')")

        assert await listener.heard(session) == []


async def test_subscribers_on_the_socket_are_subscribed_again_and_told(
    session: asyncpg.Connection, database: FreshDatabase
) -> None:
    await session.execute("alter publication supabase_realtime add table items")
    async with served(database, publication_check=0.0) as server, client(server) as one:
        await one.join("realtime:room", postgres_changes=[ALL])
        first = await one.event("system")
        await session.execute("alter publication supabase_realtime add table others")
        again = await one.event("system")
        await session.execute("insert into others values (1, 'b')")
        change = await one.event("postgres_changes")

    assert again.payload == first.payload
    assert change.payload["data"]["table"] == "others"
