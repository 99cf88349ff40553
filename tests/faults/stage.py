"""How does a fault meet a link in the midst of its work, and how do we know that it got over it?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import asyncpg
from structlog.testing import capture_logs

from local.realtime.server import Server
from tests.faults.notes import Notes
from tests.faults.verdict import Verdict, judge
from tests.faults.writer import PRIVATE, STREAMS, TOPIC, Writer
from tests.support import names
from tests.support.databases import FreshDatabase
from tests.support.sockets import served, token
from worker.db import Database
from worker.db.beats import Row
from worker.realtime.canaries.beating import Beats
from worker.realtime.link import Link
from worker.realtime.timing import Timing
from worker.subscription import Binding, Subscription

LEISURELY = 30.0  # seconds for a beat that has to come
BEATEN = 5.0  # seconds between beats, at most: so seldom that they are no signs of life
MARKS = 5
HANG = 20.0  # seconds after which a case counts as hung: nothing of it is expected to wait
TIMING = Timing(
    heartbeat=0.7, silence=0.6, join=2.0, subscribed=2.0, degraded=0.5, refused=0.5,
    unwatched=0.5, closing=0.5, pace=0.0,
)  # fmt: skip
WANTED = (
    Subscription("changes", (Binding("public", "written"),)),
    Subscription(TOPIC, broadcast=True),
    Subscription(PRIVATE, broadcast=True, private=True),
)


class Stage:
    """A Realtime server on a real database, a link to it, and a writer; all in this process."""

    def __init__(self, server: Server, link: Link, notes: Notes, writer: Writer) -> None:
        self.server = server
        self.link = link
        self.notes = notes
        self.writer = writer
        self.task: asyncio.Task[object] | None = None
        self.patience = HANG
        self.begun = 0  # how many lines the log had when the fault began
        self.loaded = 0  # under load: the row that had come when the fault began

    @property
    def is_whole(self) -> bool:
        """Everything flows, and no gap is open."""
        return self.link.ready and not self.notes.open

    def begin(self) -> None:
        """A fault begins: what is said and counted from now on is its own."""
        self.begun = len(self.notes.lines)
        self.notes.noticed = None
        self.notes.start_counting()

    async def until(self, met: Callable[[], bool], what: str) -> None:
        """Wait for a condition. Raises AssertionError when the case hangs or the link ends."""

        def met_or_over() -> bool:
            return met() or (self.task is not None and self.task.done())

        try:
            async with asyncio.timeout(self.patience):
                await self.notes.until(met_or_over)
        except TimeoutError:
            raise AssertionError(f"hung before {what}: {self._state()}") from None
        if not met():
            assert self.task is not None
            raise AssertionError(f"the link ended before {what}: {self.task.exception()!r}")

    async def mark(self) -> None:
        """
        Write a row with its messages, and wait until all have come.

        Again, if a gap was opened meanwhile: the canary may have a channel join once more.
        """
        for _ in range(MARKS):
            await self.until(lambda: self.is_whole, "everything flowed")
            gaps, newest = self.notes.gaps, await self.writer.write()
            if await self._came(newest, gaps):
                return
        raise AssertionError(f"no row in {MARKS} came without a gap: {self._state()}")

    async def _came(self, newest: int, gaps: int) -> bool:
        """Whether it came in every stream; not, if another gap was opened before it did."""

        def came() -> bool:
            return all(self.notes.last(stream) >= newest for stream in STREAMS)

        await self.until(lambda: came() or self.notes.gaps > gaps, f"row {newest} came")
        return came()

    async def verdicts(self) -> dict[str, Verdict]:
        """Compare what was told with what stands in the database, stream by stream."""
        written = await self.writer.truth()
        await self.until(lambda: self.is_whole, "the end")
        return {
            stream: judge(rows, self.notes.told.get(stream, ())) for stream, rows in written.items()
        }

    def _state(self) -> str:
        notes = self.notes
        return (
            f"channels {self.link.channels}, open gaps {dict(notes.open)}, "
            f"{notes.attempts} attempts, {notes.steps} steps, said {notes.lines[-12:]}"
        )


@contextlib.asynccontextmanager
async def stage(
    database: FreshDatabase,
    notes: Notes,
    *,
    named: bool = False,
    patience: float = LEISURELY,
    **settings: object,
) -> AsyncIterator[Stage]:
    """
    Set it up, the link ready and its first gap closed. The database is a migrated one.

    `patience` is how long a beat of the canary may take, in seconds.
    """
    with capture_logs(processors=[notes.hear]), contextlib.ExitStack() as around:
        async with (
            served(database, **settings) as server,
            _connected(database) as connection,
            _beats(database, notes, patience) as beats,
        ):
            writer = Writer(connection, notes.stir)
            await writer.prepare()
            url = around.enter_context(names.named(server)) if named else server.url
            link = Link(
                url=url,
                key=token("service_role"),
                subscriptions=WANTED,
                listener=notes,
                hidden_columns=frozenset(),
                timing=TIMING,
                beats=beats,
                backoff=notes.backoff,
                sleep=notes.pause,
                tap=notes.tap,
            )
            async with _running(Stage(server, link, notes, writer)) as made:
                yield made


@contextlib.asynccontextmanager
async def _connected(database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.admin_url)
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def _beats(database: FreshDatabase, notes: Notes, patience: float) -> AsyncIterator[Beats]:
    pool = Database(database.url, size=2)
    every = min(BEATEN, patience / 2)
    try:
        yield Beats(row=Row(pool, "w0rk3r"), every=every, patience=patience, pauses=notes.backoff)
    finally:
        await pool.close()


@contextlib.asynccontextmanager
async def _running(made: Stage) -> AsyncIterator[Stage]:
    made.task = asyncio.create_task(made.link.run())
    made.task.add_done_callback(lambda _: made.notes.stir())
    try:
        await made.until(lambda: made.is_whole, "the start")
        yield made
    finally:
        made.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await made.task
