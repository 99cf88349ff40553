"""How does a test come by a fresh database?"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from local.postgres import SUPERUSER, Cluster

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class FreshDatabase:
    """A database of one test. `url` is for role postgres, `admin_url` for the superuser."""

    name: str
    url: str
    admin_url: str


def database_of(cluster: Cluster, name: str) -> FreshDatabase:
    return FreshDatabase(name, cluster.url(name), cluster.url(name, SUPERUSER))


@asynccontextmanager
async def administering(cluster: Cluster) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's connection to the database `postgres`, which no test writes to."""
    connection = await asyncpg.connect(cluster.url(role=SUPERUSER))
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def cloned(cluster: Cluster, template: str) -> AsyncIterator[FreshDatabase]:
    """A copy of the database `template`, dropped at the end whoever is still connected."""
    database = database_of(cluster, f"test_{next(_numbers)}")
    async with administering(cluster) as connection:
        await connection.execute(
            f"create database {database.name} template {template} owner postgres"
        )
    try:
        yield database
    finally:
        async with administering(cluster) as connection:
            await drop(connection, database.name)


async def drop(connection: asyncpg.Connection, name: str) -> None:
    # FORCE ends sessions but refuses to take a slot with it.
    await connection.execute(
        "select pg_terminate_backend(active_pid, 5000) from pg_replication_slots "
        "where database = $1 and active",
        name,
    )
    await connection.execute(
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots "
        "where database = $1 and not active",
        name,
    )
    await connection.execute(f"drop database if exists {name} with (force)")
