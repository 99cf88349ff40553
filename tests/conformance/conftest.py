"""What does a test of foreign clients find ready?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from realtime import AsyncRealtimeClient

from local.postgres import Cluster
from local.realtime.server import Server
from tests.support import node_packages
from tests.support.databases import FreshDatabase, cloned
from tests.support.javascript import JavaScript, javascript
from tests.support.python_client import realtime_client


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JavaScript client and what it needs, as the lockfile names it."""
    return node_packages.installed(tmp_path_factory.getbasetemp())


@pytest_asyncio.fixture
async def js(realtime: Server, packages: Path) -> AsyncIterator[JavaScript]:
    """The official JavaScript client, which speaks version 2."""
    async with javascript(packages, realtime) as one:
        yield one


@pytest_asyncio.fixture
async def official(realtime: Server) -> AsyncIterator[AsyncRealtimeClient]:
    """The official Python client, which speaks version 1."""
    async with realtime_client(realtime) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def golden_database(cluster: Cluster, prepared_template: str) -> AsyncIterator[FreshDatabase]:
    """One for all cases, emptied after each: copying one takes longer than a case."""
    async with cloned(cluster, prepared_template) as database:
        yield database
