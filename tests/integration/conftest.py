"""What does a test of what is written find ready?"""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest_asyncio

from tests.support.databases import FreshDatabase
from worker.db import Database


@pytest_asyncio.fixture
async def pool(migrated: FreshDatabase) -> AsyncIterator[Database]:
    """The worker's way to a fresh database in which its tables stand."""
    opened = Database(migrated.url, size=4)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def connection(migrated: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A way of the test's own to the same database."""
    opened = await asyncpg.connect(migrated.url)
    yield opened
    await opened.close()
