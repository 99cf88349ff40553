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
from tests.faults.writer import TABLE, TOPIC, Writer
from tests.support import names
from tests.support.databases import FreshDatabase
from tests.support.sockets import served, token
from worker.realtime.channel import Timing
from worker.realtime.link import Link
from worker.subscription import Binding, Subscription

HANG = 20.0  # seconds after which a case counts as hung: nothing of it is expected to wait
TIMING = Timing(
    heartbeat=0.7, silence=0.6, join=2.0, subscribed=2.0, degraded=0.5, refused=0.5,
    unwatched=0.5, closing=0.5, pace=0.0,
)  # fmt: skip
WANTED = (
    Subscription("changes", (Binding("public", "leads"),)),
    Subscription("room", broadcast=True),
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
        """Write a row and a message, and wait until both have come."""
        newest = await self.writer.write()
        for stream in (TABLE, TOPIC):
            await self.until(
                lambda stream=stream: self.notes.last(stream) >= newest,  # type: ignore[misc] # mypy cannot infer a lambda's default
                f"row {newest} came through {stream}",
            )

    async def verdicts(self) -> dict[str, Verdict]:
        """Compare what was told with what stands in the database, stream by stream."""
        written = await self.writer.truth()
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
    database: FreshDatabase, notes: Notes, *, named: bool = False, **settings: object
) -> AsyncIterator[Stage]:
    """Set it up, the link ready and its first gap closed."""
    with capture_logs(processors=[notes.hear]), contextlib.ExitStack() as around:
        async with served(database, **settings) as server, _connected(database) as connection:
            writer = Writer(connection)
            await writer.prepare()
            url = around.enter_context(names.named(server)) if named else server.url
            link = Link(
                url=url,
                key=token("service_role"),
                subscriptions=WANTED,
                listener=notes,
                hidden_columns=frozenset(),
                timing=TIMING,
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
