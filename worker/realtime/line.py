"""How does one socket stay connected?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

import structlog

from .. import metrics
from ..subscription import Subscription
from .channel import Moved, Pace, Timing
from .intake import Intake
from .session import Session
from .socket import LOST, Address, leave, opened, ours, send
from .watch import Watch
from .wire import Wire

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Terms:
    """What all lines have in common."""

    address: Address
    timing: Timing
    pace: Pace
    backoff: Callable[[], Iterator[float]]
    sleep: Callable[[float], Awaitable[None]]


class Line:
    """
    One socket through its reconnections, and one session for each connection.

    Only the task that runs it touches the socket. Others ask the session for something, then
    `wake` the line. `placed` hears of every move of its channels.
    """

    def __init__(
        self,
        terms: Terms,
        intake: Intake,
        watch: Watch,
        placed: Callable[[Line, Sequence[Moved], float], None],
    ) -> None:
        self._terms = terms
        self._intake = intake
        self._watch = watch
        self._placed = placed
        self._alarm: asyncio.Timeout | None = None
        self._is_wanted = asyncio.Event()
        self.subscriptions: dict[str, Subscription] = {}
        self.session: Session | None = None

    def add(self, wanted: Subscription) -> None:
        """Have a channel on this line, from the next connection on."""
        self.subscriptions[wanted.topic] = wanted
        self._is_wanted.set()

    def wake(self) -> None:
        """Have the task look at its session's deadline now."""
        if self._alarm is not None and not self._alarm.expired():
            self._alarm.reschedule(_now())

    async def run(self) -> None:
        """Connect, for ever, while there are channels. Leaves politely when cancelled."""
        pauses = self._terms.backoff()
        while True:
            await self._is_wanted.wait()  # the server drops sockets without channels
            session = self._session()
            try:
                await self._connect(session)
            except LOST as error:
                lost = ours(error, self._terms.address.host)
            # Being accepted proves nothing: a server that accepts and hangs up must not
            # start the backoff over, or it would be hammered.
            if session.healthy:
                pauses = self._terms.backoff()
            pause = next(pauses)
            self._watch.lost(lost, self._terms.address.host, pause)
            await self._terms.sleep(pause)

    def _session(self) -> Session:
        terms = self._terms
        return Session(
            tuple(self.subscriptions.values()),
            token=terms.address.token,
            now=_now(),
            timing=terms.timing,
            pace=terms.pace,
            backoff=terms.backoff,
        )

    async def _connect(self, session: Session) -> None:
        connection = await opened(self._terms.address)
        metrics.connections_opened.inc()
        log.info("connection.opened", host=self._terms.address.host)
        self.session = session
        try:
            await self._converse(connection, session)
        except LOST:
            metrics.connections_lost.inc()
            self._watch.open(self.subscriptions, "connection lost", _now())
            raise
        finally:
            self.session = None
            await leave(connection)

    async def _converse(self, connection: Wire, session: Session) -> None:
        while True:
            # Before reading: with a frame always waiting, reading alone never comes to an end.
            if _now() >= session.deadline:
                await send(connection, session.tick(_now()))
                self._look(session, _now())
            try:
                async with asyncio.timeout_at(session.deadline) as self._alarm:
                    await self._read(connection, session)
            except TimeoutError:
                continue
            finally:
                self._alarm = None
            if self._intake.is_full:
                await self._wait_for_room(connection, session)

    async def _read(self, connection: Wire, session: Session) -> None:
        """Read until there is something else to do: one timeout serves many frames."""
        until = session.deadline
        while True:
            frames = await connection.read()
            now = _now()
            for raw in frames:
                if self._intake.take(raw, session, now):
                    self._look(session, now)
            if self._intake.is_full or now >= until or session.deadline < until:
                return

    async def _wait_for_room(self, connection: Wire, session: Session) -> None:
        while self._intake.is_full:
            due = session.deadline if session.has_queued else session.heartbeat.due
            try:
                async with asyncio.timeout_at(due) as self._alarm:
                    await self._intake.room()
            except TimeoutError:
                session.excuse(_now())
                await send(connection, session.beat(_now()))
            finally:
                self._alarm = None
        if _now() >= session.deadline:
            session.excuse(_now())

    def _look(self, session: Session, now: float) -> None:
        moves = self._watch.moved(session, now)
        if moves:
            self._placed(self, moves, now)


def _now() -> float:
    return asyncio.get_running_loop().time()
