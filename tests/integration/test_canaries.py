"""Is a way that died without a word noticed, opened again, and its time told as a gap?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
from structlog.testing import capture_logs
from structlog.typing import EventDict, WrappedLogger

from local.realtime.server import Server
from tests.support.databases import FreshDatabase
from tests.support.sockets import served, token
from worker.db import Database
from worker.db.beats import Row
from worker.event import Change, Event, Gap
from worker.realtime.beating import Beats
from worker.realtime.channel import Timing
from worker.realtime.link import Link
from worker.subscription import Binding, Subscription

from .scripted import Ear, at_once, running

LEADS = Subscription("leads", (Binding("public", "leads"),))
ROOM = Subscription("room", broadcast=True)
QUICK = Timing(heartbeat=2.0, silence=1.5, pace=0.0)

HURRIED = 0.3  # for a beat that does not come
LEISURELY = 20.0  # for one that has to


class Log:
    """The lines of the log, and who waits for one."""

    def __init__(self) -> None:
        self.lines: list[EventDict] = []
        self._more = asyncio.Event()

    def hear(self, logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
        self.lines.append(dict(line))
        self._more.set()
        return line

    def said(self, event: str, **having: Any) -> list[EventDict]:
        return [
            line for line in self.lines if line["event"] == event and having.items() <= line.items()
        ]

    async def until(self, event: str, **having: Any) -> EventDict:
        while not self.said(event, **having):
            self._more.clear()
            await self._more.wait()
        return self.said(event, **having)[0]


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
        for _ in (LEADS, ROOM):
            assert (await self.ear.next_gap()).reason == "start"
        await self.row.more(2)

    async def gap(self, reason: str) -> Gap:
        while (gap := await self.ear.next_gap()).reason != reason:
            pass
        return gap


def pauses() -> Iterator[float]:
    while True:
        yield 0.0


@contextlib.asynccontextmanager
async def staged(
    database: FreshDatabase,
    *,
    patience: float = HURRIED,
    every: float = 0.1,
    row_in: str | None = None,
    **settings: Any,
) -> AsyncIterator[Stage]:
    log, ear = Log(), Ear()
    pool = Database(row_in or database.url, size=2)
    row = Counted(Row(pool, "w0rk3r"))
    with capture_logs(processors=[log.hear]):
        async with served(database, **settings) as server:
            link = Link(
                url=server.url,
                key=token("service_role"),
                subscriptions=(LEADS, ROOM),
                listener=ear,
                hidden_columns=frozenset(),
                timing=QUICK,
                backoff=at_once,
                beats=Beats(row=row, every=every, patience=patience, pauses=pauses),
            )
            async with running(link):
                yield Stage(server, link, ear, log, row)
    await pool.close()


async def insert(database: FreshDatabase) -> None:
    connection = await asyncpg.connect(database.url)
    await connection.execute("insert into leads (first_name, last_name) values ('a', 'b')")
    await connection.close()


async def next_of(kind: type[Event], ear: Ear) -> Event:
    while not isinstance(event := await ear.next(), kind):
        pass
    return event


async def test_beats_come_back_and_nobody_else_hears_of_them(migrated: FreshDatabase) -> None:
    async with staged(migrated, patience=LEISURELY) as stage:
        await stage.ready()
        await stage.row.more(5)
        await insert(migrated)
        heard = await stage.ear.next()

        assert isinstance(heard, Change) and heard.table == "public.leads"
        assert stage.link.ready and stage.link.doubts == []
        assert set(stage.link.channels) == {"leads", "room"}
        (line,) = stage.link.lines
        assert line.session is not None and len(line.session.channels) == 4
    assert not [line for line in stage.log.lines if "canary" in str(line)]


async def test_subscriptions_that_died_without_a_word_are_made_again(
    migrated: FreshDatabase,
) -> None:
    async with staged(migrated) as stage:
        await stage.ready()
        before = asyncio.get_running_loop().time()
        stage.server.faults.cdc_lost = True
        await insert(migrated)
        gap = await stage.gap("no canary beat")
        await stage.log.until("canary.back", kind="changes")
        await insert(migrated)
        await next_of(Change, stage.ear)

        assert gap.tables == {"public.leads"} and gap.topics == {"leads"}
        assert gap.opened < before, "it begins with the last beat that came, not when we noticed"
        assert stage.link.ready
    remedies = [line["remedy"] for line in stage.log.said("canary.missed", kind="changes")]
    assert remedies == ["rejoin"]
    assert len(stage.log.said("connection.opened")) == 1


async def test_changes_that_stay_dead_make_us_connect_again_and_not_be_ready_until_they_live(
    migrated: FreshDatabase,
) -> None:
    async with staged(migrated) as stage:
        await stage.ready()
        stage.server.faults.cdc_dead = True
        await stage.log.until("canary.missed", kind="changes", remedy="rejoin")
        await stage.log.until("canary.missed", kind="changes", remedy="reconnect")
        await stage.log.until("connection.lost", reason="no canary beat came back")
        (doubt,) = stage.link.doubts
        assert doubt.startswith("no canary beat for ") and doubt.endswith(" s (changes)")
        assert not stage.link.ready
        # Every channel is ready again, and still nothing proves that changes come.
        await stage.log.until("canary.missed", kind="changes", remedy="reconnect")
        assert not stage.log.said("gap.closed", reason="no canary beat")

        stage.server.faults.cdc_dead = None
        gap = await stage.gap("no canary beat")
        await insert(migrated)
        await next_of(Change, stage.ear)

        assert gap.tables == {"public.leads"}
        assert stage.link.ready
    assert not stage.log.said("canary.missed", kind="broadcast")


async def test_broadcasts_that_died_are_noticed_by_the_other_canary(
    migrated: FreshDatabase,
) -> None:
    async with staged(migrated) as stage:
        await stage.ready()
        stage.server.faults.broadcasts_dead = True
        await stage.log.until("canary.missed", kind="broadcast", remedy="reconnect")
        stage.server.faults.broadcasts_dead = None
        await stage.log.until("canary.back", kind="broadcast")
        gaps = [await stage.gap("no canary beat") for _ in (LEADS, ROOM)]

        assert {topic for gap in gaps for topic in gap.topics} == {"leads", "room"}
    assert not stage.log.said("canary.missed", kind="changes")
