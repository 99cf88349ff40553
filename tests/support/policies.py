"""How does a test say who may read and write which topics?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from tests.support.databases import FreshDatabase


@asynccontextmanager
async def admin(database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's connection to the test's database."""
    connection = await asyncpg.connect(database.admin_url)
    try:
        yield connection
    finally:
        await connection.close()


async def allow(database: FreshDatabase, command: str, condition: str = "true") -> None:
    """Let `authenticated` select or insert messages where the condition holds."""
    clause = "with check" if command == "insert" else "using"
    async with admin(database) as connection:
        await connection.execute(
            f"create policy {command}_messages on realtime.messages for {command} "
            f"to authenticated {clause} ({condition})"
        )
