"""What does a client see of changes and broadcasts that are broken on purpose?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from local.realtime.server import Server
from tests.support.databases import FreshDatabase
from tests.support.sockets import client, token
from tests.support.subscribing import LEADS, ROOM, SUBSCRIBED, leads_table, subscribed

LONG = "x" * 100


@pytest_asyncio.fixture
async def table(database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    async with leads_table(database) as connection:
        yield connection


async def mark(table: asyncpg.Connection, *, private: bool = True) -> None:
    """Send what is heard behind every change before it, whatever happened to the changes."""
    await table.execute("select realtime.send('{}', 'mark', 'room', $1)", private)


async def test_dead_changes_stay_dead_after_a_rejoin_and_come_back_when_mended(
    realtime: Server, table: asyncpg.Connection
) -> None:
    async with client(realtime) as one:
        await subscribed(one, LEADS, private=True)
        realtime.faults.throw("cdc_dead")
        await subscribed(one, LEADS, private=True)
        await table.execute("insert into leads values (1)")
        await mark(table)
        await one.hear_bytes()
        realtime.faults.take_back("cdc_dead")
        await table.execute("insert into leads values (2)")

        assert (await one.hear()).payload["data"]["record"]["id"] == 2


async def test_lost_changes_are_not_told_and_a_rejoin_brings_them_back(
    realtime: Server, table: asyncpg.Connection
) -> None:
    async with client(realtime) as one:
        await subscribed(one, LEADS, private=True)
        realtime.faults.throw("cdc_lost")
        await table.execute("insert into leads values (1)")
        await mark(table)
        await one.hear_bytes()
        assert (await one.beat()).ref == "beat", "the connection looks healthy"
        await subscribed(one, LEADS, private=True)
        await table.execute("insert into leads values (2)")

        assert (await one.hear()).payload["data"]["record"]["id"] == 2
    assert realtime.faults.shown("cdc_lost") is None


async def test_lost_changes_come_back_with_a_new_token(
    realtime: Server, table: asyncpg.Connection
) -> None:
    async with client(realtime) as one:
        await subscribed(one, LEADS)
        realtime.faults.throw("cdc_lost")
        await one.push(ROOM, "access_token", {"access_token": token(jti="new")})
        said = await one.hear()
        await table.execute("insert into leads values (1)")

        assert said.payload == SUBSCRIBED
        assert (await one.hear()).payload["data"]["record"]["id"] == 1


async def test_lost_changes_stay_lost_when_everybody_else_is_subscribed_again(
    realtime: Server, table: asyncpg.Connection
) -> None:
    async with client(realtime) as one, client(realtime) as other:
        await subscribed(one, LEADS)
        realtime.faults.throw("cdc_lost")
        await subscribed(other, LEADS)
        await table.fetchval(
            "select count(pg_terminate_backend(active_pid)) from pg_replication_slots "
            "where database = current_database()"
        )
        assert (await other.hear()).payload == SUBSCRIBED
        await table.execute("insert into leads values (1)")
        assert (await other.hear()).event == "postgres_changes"

        assert (await one.beat()).ref == "beat"


async def test_late_changes_flow_only_from_the_word_on_and_the_channel_is_joined_before(
    realtime: Server, table: asyncpg.Connection
) -> None:
    async with client(realtime) as one:
        realtime.faults.throw("late_changes", "3600")
        answer = await one.join(ROOM, postgres_changes=[LEADS], private=True)
        await table.execute("insert into leads values (1)")
        await mark(table)
        await one.hear_bytes()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):  # what is measured: the word does not come
                await one.hear()
        realtime.faults.take_back("late_changes")
        said = await one.hear()
        await table.execute("insert into leads values (2)")

        assert answer.payload["status"] == "ok"
        assert said.payload == SUBSCRIBED
        assert (await one.hear()).payload["data"]["record"]["id"] == 2


async def test_a_failed_subscription_is_told_and_made_again(
    realtime: Server, table: asyncpg.Connection
) -> None:
    async with client(realtime) as one:
        await subscribed(one, LEADS)
        realtime.faults.throw("failed_subscription")
        said = [(await one.hear()).payload for _ in range(2)]
        await table.execute("insert into leads values (1)")
        change = await one.hear()

    error = {"status": "error", "message": '{:error, "Too many database timeouts"}'}
    assert said == [SUBSCRIBED | error, SUBSCRIBED]
    assert change.payload["data"]["record"]["id"] == 1


async def changed(one: Any) -> dict[str, Any]:
    data: dict[str, Any] = (await one.hear()).payload["data"]
    return data


async def test_a_change_that_is_too_large_keeps_its_short_values(
    realtime: Server, table: asyncpg.Connection
) -> None:
    async with client(realtime) as one:
        await subscribed(one, LEADS)
        realtime.faults.throw("change_error", "413")
        await table.execute("insert into leads values (9007199254740993, $1)", LONG)
        cut = await changed(one)
        realtime.faults.take_back("change_error")
        await table.execute("update leads set status = $1", LONG + "!")
        whole = await changed(one)

    assert cut["errors"] == ["Error 413: Payload Too Large"]
    assert cut["record"] == {"id": 9007199254740993}
    assert cut["commit_timestamp"] is not None and len(cut["columns"]) == 2
    assert (whole["errors"], whole["record"]["status"]) == (None, LONG + "!")


@pytest.mark.parametrize(
    ("code", "error"),
    [("401", "Error 401: Unauthorized"), ("400", "Error 400: Bad Request, no primary key")],
)
async def test_a_change_that_nobody_may_see_has_neither_row_nor_time(
    realtime: Server, table: asyncpg.Connection, code: str, error: str
) -> None:
    async with client(realtime) as one:
        await subscribed(one, LEADS)
        realtime.faults.throw("change_error", code)
        await table.execute("insert into leads values (1)")
        await table.execute("update leads set status = 'x'")
        await table.execute("delete from leads")
        inserted, updated, deleted = [await changed(one) for _ in range(3)]

    nothing: dict[str, Any] = {"schema": "public", "table": "leads", "columns": [], "record": {}}
    nothing |= {"commit_timestamp": None, "errors": [error]}
    assert inserted == nothing | {"type": "INSERT"}
    assert updated == nothing | {"type": "UPDATE", "old_record": {}}
    assert deleted["errors"] is None and deleted["old_record"] == {"id": 1}, "never refused"


async def test_dead_broadcasts_are_acknowledged_and_changes_go_on(
    realtime: Server, table: asyncpg.Connection
) -> None:
    message = {"type": "broadcast", "event": "e", "payload": {}}
    async with client(realtime) as one:
        await subscribed(one, LEADS, broadcast={"self": True, "ack": True})
        realtime.faults.throw("broadcasts_dead")
        await one.push(ROOM, "broadcast", message, ref="lost")
        await mark(table, private=False)
        await table.execute("insert into leads values (1)")
        heard = [await one.hear() for _ in range(2)]
        realtime.faults.take_back("broadcasts_dead")
        await one.push(ROOM, "broadcast", message, ref="sent")

        assert [each.event for each in heard] == ["phx_reply", "postgres_changes"]
        assert heard[0].payload == {"status": "ok", "response": {}}
        assert (await one.hear()).event == "broadcast"
