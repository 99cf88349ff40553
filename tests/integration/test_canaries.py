"""Is a way that died without a word noticed, opened again, and its time told as a gap?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict, WrappedLogger

from local.postgres import Cluster
from local.realtime.server import Server
from tests.support.databases import FreshDatabase, administering, cloned
from tests.support.doorway import doorway
from tests.support.policies import admin
from tests.support.sockets import served, token
from worker.db import Database
from worker.db.beats import Row
from worker.db.migrate import default_directory, migrate
from worker.event import Change, Event, Gap
from worker.realtime.canaries.beating import Beats
from worker.realtime.channel import Timing
from worker.realtime.link import Link
from worker.subscription import Binding, Subscription

from .scripted import Ear, at_once, running

LEADS = Subscription("leads", (Binding("public", "leads"),))
ROOM = Subscription("room", broadcast=True)
QUICK = Timing(heartbeat=2.0, silence=1.5, pace=0.0)

HURRIED = 0.5  # for a beat that does not come
PATIENT = 1.0  # where others come and are not to be missed on a busy machine
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
        for _ in self.link.channels:
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
    row_in: str | None = None,
    worker: str = "w0rk3r",
    wanted: Sequence[Subscription] = (LEADS, ROOM),
    role: str = "service_role",
    tap: Callable[[bytes | Gap], None] | None = None,
    **settings: Any,
) -> AsyncIterator[Stage]:
    log, ear = Log(), Ear()
    pool = Database(row_in or database.url, size=2, query_timeout=1.0)
    row = Counted(Row(pool, worker))
    with capture_logs(processors=[log.hear]):
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
                beats=Beats(row=row, every=0.1, patience=patience, pauses=pauses),
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
    async with staged(migrated, patience=PATIENT) as stage:
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


async def test_a_canary_that_had_to_join_again_by_itself_has_the_older_channels_join_again(
    migrated: FreshDatabase,
) -> None:
    """A beat proves nothing for a subscription that is older than the canary's."""
    async with staged(migrated, patience=LEISURELY) as stage:
        await stage.ready()
        (connection,) = stage.server.connections
        leads = connection.channels["realtime:leads"].changes
        assert leads is not None
        leads.lost = True
        connection.channels["realtime:tidemark-canary:changes:w0rk3r:0"].crash()
        gap = await stage.gap("canary joined again")
        await insert(migrated)
        await next_of(Change, stage.ear)

        assert gap.topics == {"leads"}
        assert stage.link.ready
    assert not stage.log.said("canary.missed")
    assert len(stage.log.said("connection.opened")) == 1


async def test_a_beat_that_was_skipped_is_a_gap_and_nothing_else(migrated: FreshDatabase) -> None:
    """As when the rate limit of a project skips changes without a word."""
    async with staged(migrated, patience=LEISURELY) as stage:
        await stage.ready()
        before = asyncio.get_running_loop().time()
        stage.server.faults.cdc_dead = True
        await stage.row.more(2)
        stage.server.faults.cdc_dead = None
        gap = await stage.gap("canary beat lost")

        assert gap.tables == {"public.leads"}
        assert gap.opened < before < gap.closed
    assert not stage.log.said("canary.missed") and not stage.log.said("channel.left")


async def test_a_listener_that_takes_nothing_is_no_silence_of_the_server(
    migrated: FreshDatabase,
) -> None:
    async with staged(migrated, patience=PATIENT) as stage:
        await stage.ready()
        stage.ear.listens.clear()
        await insert(migrated, rows=1000)
        await stage.row.more(20)  # longer than a canary is waited for, both times
        stage.ear.listens.set()
        for _ in range(1000):
            await next_of(Change, stage.ear)
        await stage.row.more(10)

        assert stage.link.ready
    assert not stage.log.said("canary.missed")


async def test_a_database_that_hangs_is_no_silence_of_the_server(
    cluster: Cluster, migrated: FreshDatabase
) -> None:
    async with doorway(cluster.port) as door:
        url = migrated.url.replace(f":{cluster.port}/", f":{door.port}/")
        async with staged(migrated, row_in=url, patience=PATIENT) as stage:
            await stage.ready()
            door.freeze()
            said = await stage.log.until("canary.unwritten")
            door.thaw()
            await stage.row.more(10)

            assert said["reason"] == "no answer to a statement in time"
            assert stage.link.ready
        assert not stage.log.said("canary.missed")
        assert len(stage.log.said("canary.unwritten")) == 1


@pytest.fixture
async def neon(cluster: Cluster) -> AsyncIterator[FreshDatabase]:
    """A migrated database that is no Supabase project's."""
    async with administering(cluster) as admin:
        await admin.execute("create database template_elsewhere owner postgres")
    async with cloned(cluster, "template_elsewhere") as elsewhere:
        await migrate(elsewhere.url, default_directory())
        yield elsewhere
    async with administering(cluster) as admin:
        await admin.execute("drop database template_elsewhere")


@pytest.mark.parametrize("is_published", [True, False])
async def test_where_the_database_is_not_the_project_s_only_broadcasts_are_watched(
    migrated: FreshDatabase, neon: FreshDatabase, is_published: bool
) -> None:
    if not is_published:
        async with admin(migrated) as connection:
            await connection.execute(
                "alter publication supabase_realtime drop table tidemark.beats"
            )
    async with staged(migrated, row_in=neon.url) as stage:
        said = await stage.log.until("canary.disabled", kind="changes")
        assert "it is not the project's database" in said["reason"]
        stage.server.faults.broadcasts_dead = True
        await stage.log.until("canary.missed", kind="broadcast", remedy="reconnect")
        stage.server.faults.broadcasts_dead = None
        await stage.log.until("canary.back", kind="broadcast")

        assert stage.link.doubts == []
    assert len(stage.log.said("canary.disabled")) == 1
    assert not stage.log.said("canary.missed", kind="changes")
    assert not stage.log.said("channel.refused")


async def test_beats_may_leave_the_publication_and_come_back_to_it(
    migrated: FreshDatabase,
) -> None:
    async with staged(migrated, publication_check=0.1) as stage:
        await stage.ready()
        async with admin(migrated) as connection:
            alter = "alter publication supabase_realtime {} table tidemark.beats"
            await connection.execute(alter.format("drop"))
            said = await stage.log.until("canary.disabled", kind="changes")
            assert said["reason"] == (
                "the publication supabase_realtime does not carry tidemark.beats"
            )
            await connection.execute(alter.format("add"))
        await stage.log.until("canary.enabled", kind="changes")


async def test_where_only_private_channels_are_allowed_the_canary_is_private(
    migrated: FreshDatabase,
) -> None:
    room = Subscription("room", broadcast=True, private=True)
    came = asyncio.Event()

    def tap(what: bytes | Gap) -> None:
        if isinstance(what, bytes) and b"beat" in what and b'"number":' in what:
            came.set()

    async with staged(migrated, wanted=[room], private_only=True, tap=tap) as stage:
        await came.wait()
        stage.server.faults.broadcasts_dead = True
        await stage.log.until("canary.missed", kind="broadcast")
        stage.server.faults.broadcasts_dead = None
        await stage.log.until("canary.back", kind="broadcast")

    assert not stage.log.said("canary.disabled")


async def test_a_worker_that_signs_in_as_a_user_hears_its_beats(migrated: FreshDatabase) -> None:
    async with staged(migrated, role="authenticated") as stage:
        await stage.ready()
        stage.server.faults.cdc_lost = True
        await stage.log.until("canary.missed", kind="changes")
        await stage.log.until("canary.back", kind="changes")

    assert not stage.log.said("canary.disabled")


async def test_each_worker_hears_its_own_beats_and_no_other_s(migrated: FreshDatabase) -> None:
    heard: list[bytes] = []

    def tap(what: bytes | Gap) -> None:
        if isinstance(what, bytes) and b"tidemark-canary:changes" in what:
            heard.append(what)

    async with staged(migrated, patience=LEISURELY, tap=tap) as stage:
        await stage.ready()
        other = Row(Database(migrated.url, size=1), "other")
        for number in range(100, 105):
            await other.write(number)
        await stage.row.more(2)
        await other._database.close()

    assert not any(b'"other"' in frame for frame in heard)
    assert any(b'"w0rk3r"' in frame for frame in heard)


async def test_each_socket_has_canaries_of_its_own_within_the_limit_of_channels(
    migrated: FreshDatabase,
) -> None:
    rooms = [Subscription(f"room-{number}", broadcast=True) for number in range(150)]
    async with staged(migrated, patience=LEISURELY, wanted=[LEADS, *rooms]) as stage:
        await stage.ready()
        sessions = [line.session for line in stage.link.lines]

        assert [session and len(session.channels) for session in sessions] == [100, 54]
        assert stage.link.ready
    assert not stage.log.said("channel.lost") and not stage.log.said("canary.disabled")
