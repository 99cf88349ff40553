"""How does a test set up a link with canaries, and what can it see of it?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import asyncpg

from local.realtime.server import Server
from tests.support.databases import FreshDatabase
from tests.support.logs import Log, logged
from tests.support.sockets import served, token
from worker.db import Database
from worker.db.beats import Row
from worker.event import Broadcast, Event, Gap
from worker.realtime.canaries.beating import Beats
from worker.realtime.link import Link
from worker.subscription import Subscription

from .scripted import LEADS, QUICK, Ear, at_once, running

ROOM = Subscription("room", broadcast=True)

HURRIED = 0.5  # for a beat that does not come
PATIENT = 1.0  # where others come and are not to be missed on a busy machine
LEISURELY = 20.0  # for one that has to


class Counted:
    """A row that can be waited for: it is written through the one it stands for."""

    def __init__(self, row: Row) -> None:
        self.worker = row.worker
        self._row = row
        self._written = 0
        self._more = asyncio.Event()

    async def write(self, number: int) -> str | None:
        reason = await self._row.write(number)
        self._written += 1
        self._more.set()
        return reason

    async def more(self, count: int) -> None:
        """Return once so many more beats were written."""
        wanted = self._written + count
        while self._written < wanted:
            self._more.clear()
            await self._more.wait()


class Stage:
    """A link with canaries, and what one can see of it."""

    def __init__(self, server: Server, link: Link, ear: Ear, log: Log, row: Counted) -> None:
        self.server = server
        self.link = link
        self.ear = ear
        self.log = log
        self.row = row

    async def ready(self) -> None:
        """Wait until all gaps of the start are closed, and beats came."""
        for _ in self.link.channels:
            assert (await self.ear.next_gap()).reason == "start"
        await self.row.more(2)

    async def gap(self, reason: str) -> Gap:
        while (gap := await self.ear.next_gap()).reason != reason:
            pass
        return gap


@contextlib.asynccontextmanager
async def staged(
    database: FreshDatabase,
    *,
    patience: float = HURRIED,
    row_in: str | None = None,
    worker: str = "w0rk3r",
    wanted: Sequence[Subscription] = (LEADS, ROOM),
    role: str = "service_role",
    tap: Callable[[bytes | Gap], None] | None = None,
    **settings: Any,
) -> AsyncIterator[Stage]:
    ear = Ear()
    pool = Database(row_in or database.url, size=2, query_timeout=1.0)
    row = Counted(Row(pool, worker))
    with logged() as log:
        async with served(database, **settings) as server:
            link = Link(
                url=server.url,
                key=token(role),
                subscriptions=wanted,
                listener=ear,
                hidden_columns=frozenset(),
                timing=QUICK,
                backoff=at_once,
                tap=tap,
                beats=Beats(row=row, every=0.1, patience=patience, pauses=at_once),
            )
            async with running(link):
                yield Stage(server, link, ear, log, row)
    await pool.close()


async def insert(database: FreshDatabase, rows: int = 1) -> None:
    connection = await asyncpg.connect(database.url)
    await connection.execute(
        "insert into leads (first_name, last_name)"
        " select 'a', 'b' from generate_series(1, $1::integer)",
        rows,
    )
    await connection.close()


async def next_of(kind: type[Event], ear: Ear) -> Event:
    while not isinstance(event := await ear.next(), kind):
        pass
    return event


async def passed(database: FreshDatabase, ear: Ear) -> None:
    """
    Return once Realtime has dealt with all that was committed until now, told or not.

    It reads one log: a broadcast from the database comes behind the changes before it.
    """
    connection = await asyncpg.connect(database.url)
    await connection.execute("select realtime.send('{}', 'passed', 'room', false)")
    await connection.close()
    await next_of(Broadcast, ear)
