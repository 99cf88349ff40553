"""Is a record the same, whether the database or an event brought it?"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import pytest

from records import agents, approvals, events, leads
from records.columns import whole
from tests.support.databases import FreshDatabase
from worker.cache import Caches, Recall, find
from worker.db import Database

INSERTS = {
    agents: "insert into agents (name, regions, last_active_at, metadata)"
    " values ('Al', '{north,east}', now(), '{\"a\": [1]}') returning id",
    leads: "insert into leads (first_name, last_name, assigned_agent)"
    " select 'Ada', 'Low', (select id from agents limit 1) returning id",
    approvals: "insert into approvals (kind, subject, payload, expires_at)"
    " values ('discount', 'x', '{\"percent\": 2.5}', 'infinity') returning id",
    events: "insert into events (channel, content) values ('sms', 'hello') returning id",
}
CLASSES: dict[Any, Any] = {
    agents: agents.Agent,
    leads: leads.Lead,
    approvals: approvals.Approval,
    events: events.Communication,
}
CACHES: dict[Any, Recall[str, Any]] = {
    agents: agents.recalled,
    leads: leads.recalled,
    approvals: approvals.recalled,
}


@pytest.mark.parametrize("module", CLASSES, ids=lambda module: module.__name__)
async def test_an_event_and_the_database_bring_the_same_record(
    module: Any, connection: asyncpg.Connection
) -> None:
    id_ = await connection.fetchval(INSERTS[module])
    row = await connection.fetchrow(f"select * from {module.TABLE} where id = $1", id_)
    sent = await connection.fetchval(
        f"select to_jsonb(it) from {module.TABLE} it where id = $1", id_
    )
    assert row is not None
    from_event = CLASSES[module].from_row(orjson.loads(sent))

    assert whole(CLASSES[module], dict(row)), "a field for every column, and no other"
    assert len(row) == len(CLASSES[module].__dataclass_fields__)
    assert from_event == CLASSES[module].from_row(dict(row))


@pytest.mark.parametrize("module", CACHES, ids=lambda module: module.__name__)
async def test_a_recalled_record_is_read_once_and_is_the_newer_one(
    module: Any, migrated: FreshDatabase, connection: asyncpg.Connection
) -> None:
    cache: Recall[str, Any] = CACHES[module]
    Caches([cache]).resume([module.TABLE])
    id_ = str(await connection.fetchval(INSERTS[module]))
    database = Database(migrated.url, size=1)
    with database.bind():
        first = await cache.get(id_)
        await connection.execute(f"update {module.TABLE} set updated_at = updated_at")
        again = await cache.get(id_)
        assert await cache.get(str(uuid4())) is None
    await database.close()
    cache.drop(id_)
    row = await connection.fetchrow(f"select * from {module.TABLE}")
    assert row is not None
    newer = CLASSES[module].from_row(dict(row))
    assert again is first
    assert first is not None

    cache.put(id_, newer)
    cache.put(id_, first)
    assert newer.updated_at > first.updated_at
    assert cache.peek(id_) is newer
    cache.clear()


def test_every_cache_is_found_by_name() -> None:
    caches = find("records")

    assert {name: caches[name].name for name in ("lead", "approval", "agent")}
