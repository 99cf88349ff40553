"""How does a test get a channel on which the changes of a table arrive?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.support.databases import FreshDatabase
from tests.support.policies import admin
from tests.support.sockets import Client

ROOM = "realtime:room"
LEADS = {"event": "*", "schema": "public", "table": "leads"}
SUBSCRIBED = {
    "extension": "postgres_changes",
    "status": "ok",
    "message": "Subscribed to PostgreSQL",
    "channel": "room",
}


@asynccontextmanager
async def leads_table(database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database with a published table `leads`."""
    async with admin(database) as connection:
        await connection.execute("create table leads (id bigint primary key, status text)")
        await connection.execute("alter publication supabase_realtime add table leads")
        yield connection


async def subscribed(one: Client, *bindings: object, **config: Any) -> list[int]:
    """Join with these bindings, wait until changes flow; return the numbers of the bindings."""
    answer = await one.join(ROOM, postgres_changes=list(bindings), **config)
    await one.event("system")
    return [binding["id"] for binding in answer.payload["response"]["postgres_changes"]]
