"""What does every test find ready?"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from hypothesis import settings

from local.database import prepare
from local.postgres import Cluster
from local.realtime.server import Server
from tests.support.databases import FreshDatabase, administering, cloned, database_of
from tests.support.sockets import served
from worker.db.migrate import default_directory, migrate

# An example may take long on a busy machine: that is no failure, and a hang meets pytest's timeout.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """
    Let the processes that tests start hear SIGINT.

    A shell has its background jobs ignore it, they hand that on to what they start, and the
    worker leaves ignored what it finds ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A throw-away PostgreSQL, one for each process of the test run: slots are cluster-wide."""
    with Cluster.running(durable=False) as running:
        yield running


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """A PostgreSQL of one test, since it will be ill-treated."""
    with Cluster.running(durable=False) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def prepared_template(cluster: Cluster) -> str:
    """The name of a database in which Supabase's objects stand; nobody may stay connected to it."""
    name = "template_prepared"
    async with administering(cluster) as connection:
        await connection.execute(f"create database {name}")
    await prepare(database_of(cluster, name).admin_url)
    return name


@pytest_asyncio.fixture
async def database(cluster: Cluster, prepared_template: str) -> AsyncIterator[FreshDatabase]:
    """A fresh database with Supabase's objects in it."""
    async with cloned(cluster, prepared_template) as fresh:
        yield fresh


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_template(cluster: Cluster, prepared_template: str) -> str:
    """The name of a prepared database in which the project's migrations were applied."""
    name = "template_migrated"
    async with administering(cluster) as connection:
        await connection.execute(
            f"create database {name} template {prepared_template} owner postgres"
        )
    await migrate(database_of(cluster, name).url, default_directory())
    return name


@pytest_asyncio.fixture
async def migrated(cluster: Cluster, migrated_template: str) -> AsyncIterator[FreshDatabase]:
    """A fresh database with Supabase's objects and the project's tables in it."""
    async with cloned(cluster, migrated_template) as fresh:
        yield fresh


@pytest_asyncio.fixture
async def realtime(database: FreshDatabase) -> AsyncIterator[Server]:
    """A Realtime server on this test's database, with every step and none of the waiting."""
    async with served(database) as server:
        yield server
