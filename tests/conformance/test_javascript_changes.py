"""Does the JavaScript client receive Postgres Changes as it expects them?"""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from tests.support.databases import FreshDatabase
from tests.support.javascript import SYSTEM, JavaScript, changes
from tests.support.policies import admin
from tests.support.sockets import token

SUBSCRIBED = "Subscribed to PostgreSQL"


@pytest_asyncio.fixture
async def leads(database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database with a published table `leads`."""
    async with admin(database) as connection:
        await connection.execute("create table leads (id int primary key, status text, n int8)")
        await connection.execute("alter table leads replica identity full")
        await connection.execute("alter publication supabase_realtime add table leads")
        yield connection


async def test_every_operation_arrives_with_old_and_new(
    leads: asyncpg.Connection, js: JavaScript
) -> None:
    channel = await js.joined("room", SYSTEM, changes("leads"))
    assert (await channel.heard("system"))["message"] == SUBSCRIBED
    await leads.execute("insert into leads values (1, 'new', 2)")
    await leads.execute("update leads set status = 'won'")
    await leads.execute("delete from leads")
    heard = [await channel.heard("postgres_changes") for _ in range(3)]

    new, won = {"id": 1, "status": "new", "n": 2}, {"id": 1, "status": "won", "n": 2}
    assert [(one["eventType"], one["old"], one["new"]) for one in heard] == [
        ("INSERT", {}, new),
        ("UPDATE", new, won),
        ("DELETE", won, {}),
    ]
    assert {(one["schema"], one["table"], one["errors"]) for one in heard} == {
        ("public", "leads", None)
    }


async def test_each_binding_gets_what_its_filter_lets_through(
    leads: asyncpg.Connection, js: JavaScript
) -> None:
    """A number too many in `ids` and the client would call another binding's callback as well."""
    inserts = await js.joined("inserts", SYSTEM, changes("leads", "INSERT"))
    several = await js.joined(
        "several",
        SYSTEM,
        changes("leads", "UPDATE", filter="status=eq.won"),
        changes("leads", "UPDATE", filter="id=in.(3,4),n=gt.10", select=["id", "n"]),
        changes("leads", "DELETE"),
    )
    for channel in (inserts, several):
        assert (await channel.heard("system"))["message"] == SUBSCRIBED
    await leads.execute("insert into leads select n, 'new', n from generate_series(1, 4) n")
    await leads.execute("update leads set status = 'won' where id = 2")
    await leads.execute("update leads set n = 9 where id = 3")
    await leads.execute("update leads set n = 11 where id = 4")
    await leads.execute("delete from leads where id = 1")
    came = [(await inserts.heard("postgres_changes"))["new"]["id"] for _ in range(4)]
    heard = [await several.heard("postgres_changes") for _ in range(3)]

    assert came == [1, 2, 3, 4]
    assert [one["new"] for one in heard] == [
        {"id": 2, "status": "won", "n": 2},
        {"id": 4, "n": 11},
        {},
    ]
    assert heard[2]["old"]["id"] == 1


async def test_what_cannot_be_subscribed_is_said(leads: asyncpg.Connection, js: JavaScript) -> None:
    channel = await js.joined("room", SYSTEM, changes("leads", filter="nope=eq.1"))
    said = await channel.heard("system")

    assert (said["status"], said["extension"]) == ("error", "postgres_changes")
    assert "invalid column for filter nope" in said["message"]


async def test_a_new_token_subscribes_again_and_changes_go_on(
    leads: asyncpg.Connection, js: JavaScript
) -> None:
    channel = await js.joined("room", SYSTEM, changes("leads"))
    await channel.heard("system")
    await js.ask("authenticate", token=token("service_role", again=True))
    again = await channel.heard("system")
    await leads.execute("insert into leads values (1, 'new', 2)")

    assert again["message"] == SUBSCRIBED
    assert (await channel.heard("postgres_changes"))["new"]["id"] == 1


async def test_a_row_too_large_says_so_and_keeps_its_key(
    leads: asyncpg.Connection, js: JavaScript
) -> None:
    channel = await js.joined("room", SYSTEM, changes("leads"))
    await channel.heard("system")
    await leads.execute("insert into leads values (1, repeat('x', 1100000), 2)")
    heard = await channel.heard("postgres_changes")

    assert heard["errors"] == ["Error 413: Payload Too Large"]
    assert heard["new"] == {"id": 1, "n": 2}
