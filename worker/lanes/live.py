"""How do live events become committed effects?"""

from __future__ import annotations

import asyncio
import itertools
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Never

import structlog

from .. import backoff, metrics
from ..cache import Caches
from ..effects import Batch, DeadLetter, Effects
from ..errors import DatabaseAway, Reject
from ..event import Change, Event, Gap
from ..routing import Route, Routes

log = structlog.get_logger()

STRIKES = 3
INBOX_BYTES = 64 * 1024 * 1024  # of frames; a row may have a megabyte, and ten thousand wait
HANDLER_SECONDS = 30.0  # a handler that takes longer hangs, and everybody behind it waits

Commit = Callable[[Batch], Awaitable[None]]
Pause = Callable[[float], Awaitable[None]]


class Overreached(Exception):
    """A handler tried to end more than itself; it is a fault like any other."""


class LiveLane:
    """
    Hands live events to their handlers, in order, and their effects to the unit of work.

    `receive` waits while the inbox is full: so a slow handler or an absent database slows the
    reader of the socket down, and nothing is dropped here. What has arrived meanwhile is
    committed together, `batch_size` events at most. `pause` waits for that many seconds.
    """

    def __init__(
        self,
        routes: Routes,
        commit: Commit,
        caches: Caches,
        *,
        inbox_size: int = 1000,
        inbox_bytes: int = INBOX_BYTES,
        batch_size: int = 200,
        strikes: int = STRIKES,
        handler_seconds: float = HANDLER_SECONDS,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._routes = routes
        self._commit = commit
        self._caches = caches
        self._batch_size = batch_size
        self._strikes = strikes
        self._handler_seconds = handler_seconds
        self._pause = pause
        self._inbox: asyncio.Queue[tuple[Event, int]] = asyncio.Queue(inbox_size)
        self._in_hand = 0  # events taken out of the inbox to be committed together
        self._bytes = 0  # of the frames of all that is not committed
        self._most_bytes = inbox_bytes
        self._room = asyncio.Event()
        self._refused: str | None = None  # why the database took nothing the last time
        self._running: tuple[str, float] | None = None  # the handler that runs, and since when

    @property
    def waiting(self) -> int:
        """How many events were received and are not committed."""
        return self._inbox.qsize() + self._in_hand

    @property
    def held_up(self) -> str | None:
        """Say why events that were received are not handled; None while they are."""
        if self._refused is not None:
            return f"events wait for the database: {self._refused}"
        if self._running is not None:
            name, began = self._running
            # A second more than it is given: by then it has swallowed its cancellation.
            if time.monotonic() - began > self._handler_seconds + 1.0:
                return f"handler {name} hangs and does not let itself be stopped"
        return None

    async def receive(self, event: Event, size: int = 0) -> None:
        """Take an event in; waits while there is no room. `size` is its frame's, in bytes."""
        while self._bytes >= self._most_bytes:
            self._room.clear()
            await self._room.wait()
        self._bytes += size
        await self._inbox.put((event, size))
        metrics.events_received.labels(_source(event)).inc()
        metrics.inbox_waiting.set(self._inbox.qsize())

    def gap_opened(self, reason: str, tables: frozenset[str], topics: frozenset[str]) -> None:
        """From now on events may be missed: trust no cache of these tables until it closes."""
        self._caches.suspend(tables)

    async def drain(self) -> None:
        """Return when the effects of all that was received are committed."""
        await self._inbox.join()

    async def run(self) -> Never:
        """Handle events until cancelled; what is not committed by then is lost, as if unread."""
        while True:
            events, size = await self._arrived()
            self._in_hand = len(events)
            for part in _parted_at_gaps(events):
                await self._handle(part)
            self._in_hand = 0
            self._bytes -= size
            self._room.set()
            for _ in events:
                self._inbox.task_done()

    async def _arrived(self) -> tuple[list[Event], int]:
        """Wait for an event; return it with what else is there, and the bytes of their frames."""
        arrived = [await self._inbox.get()]
        while len(arrived) < self._batch_size and not self._inbox.empty():
            arrived.append(self._inbox.get_nowait())
        metrics.inbox_waiting.set(self._inbox.qsize())
        return [event for event, _ in arrived], sum(size for _, size in arrived)

    async def _handle(self, events: Sequence[Event]) -> None:
        asked: list[Effects] = []
        dead: list[DeadLetter] = []
        for event in events:
            if isinstance(event, Gap):
                # All that came before it has been committed: nothing older is put any more.
                self._caches.resume(event.tables)
            routes = self._routes.matching(event)
            if not routes and not isinstance(event, Gap):
                _unrouted(event)
            for route in routes:
                done = await self._react(route, event)
                if isinstance(done, DeadLetter):
                    dead.append(done)
                elif done.asked:
                    asked.append(done)
        await self._commit_for_sure(Batch(asked, dead))
        for event in {effects.event.id: effects.event for effects in asked}.values():
            _observe_delay(event)

    async def _react(self, route: Route, event: Event) -> Effects | DeadLetter:
        """Run one handler until it is done, rejects, or has struck out."""
        name = route.handler_name
        said = log.bind(handler=name, event_id=str(event.id))
        waits = backoff.waits(first=0.05, cap=1.0)
        for attempt in itertools.count(1):
            began = time.monotonic()
            try:
                effects = await self._run_handler(route, event)
            except Reject as error:
                said.warning("handler.rejected", attempt=attempt)
                metrics.events_handled.labels(name, "rejected").inc()
                return DeadLetter(event, name, f"Reject: {error}", attempt)
            # Whatever else a handler raises is a fault of its own: it must not stop the others.
            except Exception as error:
                said.warning("handler.failed", attempt=attempt, **_fault(error))
                metrics.events_handled.labels(name, "failed").inc()
                if attempt == self._strikes:
                    return DeadLetter(event, name, f"{type(error).__name__}: {error}", attempt)
                await self._pause(next(waits))
            else:
                seconds = time.monotonic() - began
                metrics.handler_seconds.labels(name).observe(seconds)
                metrics.events_handled.labels(name, "done").inc()
                said.debug("handler.finished", attempt=attempt, seconds=round(seconds, 6))
                return effects
        raise AssertionError("counting has no end")

    async def _run_handler(self, route: Route, event: Event) -> Effects:
        """Run it once. An absent database is no strike: it is waited for as long as it takes."""
        waits = backoff.waits(cap=10.0)
        while True:
            effects = Effects(event, route.handler_name)
            self._running = route.handler_name, time.monotonic()
            try:
                async with asyncio.timeout(self._handler_seconds):
                    await _contained(route.handler(event, effects))
            except DatabaseAway as error:
                self._running = None
                await self._wait_for_database(error, waits)
            else:
                self._refused = None
                return effects
            finally:
                self._running = None

    async def _commit_for_sure(self, batch: Batch) -> None:
        """Commit, and try again for ever while the database is away: the reader waits behind."""
        if not batch.asked and not batch.dead:
            return
        away = backoff.waits(cap=10.0)
        while True:
            try:
                await self._commit(batch)
            except DatabaseAway as error:
                await self._wait_for_database(error, away)
            else:
                self._refused = None
                return

    async def _wait_for_database(self, error: DatabaseAway, waits: Iterator[float]) -> None:
        wait, self._refused = next(waits), str(error)
        log.warning(
            "lane.waiting",
            reason=str(error),
            wait=round(wait, 2),
            inbox=self._inbox.qsize(),
        )
        await self._pause(wait)


async def _contained(handling: Awaitable[None]) -> None:
    """Await a handler; what in it would end the lane or the process is a fault of its own."""
    try:
        await handling
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # we are told to stop, or it takes too long
        # It awaited something that was cancelled. The lane would be gone without a word.
        raise Overreached("it was cancelled by what it awaited") from None
    except SystemExit as error:
        raise Overreached("it wanted the process to end") from error


def _parted_at_gaps(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """A gap's handling begins once what came before it is committed."""
    start = 0
    for place, event in enumerate(events):
        if isinstance(event, Gap) and place > start:
            yield events[start:place]
            start = place
    yield events[start:]


def _unrouted(event: Event) -> None:
    source = _source(event)
    metrics.events_unrouted.labels(source).inc()
    about = {"table": event.table, "kind": event.kind} if isinstance(event, Change) else {}
    log.debug("event.unrouted", source=source, event_id=str(event.id), **about)


def _source(event: Event) -> str:
    return type(event).__name__.lower()


def _observe_delay(event: Event) -> None:
    if not isinstance(event, Change):
        return
    try:
        committed = event.committed
    except ValueError:  # Realtime's text was no time; it is only for the statistics here
        return
    if committed is not None:
        if committed.tzinfo is None:
            committed = committed.replace(tzinfo=UTC)
        delay = (datetime.now(UTC) - committed).total_seconds()
        metrics.commit_to_effects_seconds.observe(max(delay, 0.0))


def _fault(error: Exception) -> dict[str, str]:
    """The error's name and place. Not its message, which may hold a value of the row."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    return {
        "error": type(error).__name__,
        "where": f"{Path(last.filename).name}:{last.lineno} in {last.name}",
    }
