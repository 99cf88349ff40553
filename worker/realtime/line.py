"""How does one socket stay connected?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Never

import structlog

from .. import metrics
from ..errors import ConnectionLost, HandshakeRefused
from ..subscription import Subscription
from .canaries.flock import Flock
from .channel import Channel, Moved, State
from .credentials import Credentials, Key
from .heartbeat import NEVER
from .intake import Intake
from .joining import Tenant
from .refusals import is_about_token
from .session import MOST_CHANNELS, Session
from .socket import LOST, Address, is_goodbye, leave, opened, ours, send
from .timing import Timing
from .watch import Watch
from .wire import Wire

log = structlog.get_logger()

FEWEST = 10  # channels on a socket that the server says is full


@dataclass(frozen=True, slots=True)
class Terms:
    """What all lines have in common."""

    address: Address
    key: Key
    credentials: Credentials
    timing: Timing
    tenant: Tenant
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
        placed: Callable[[Line, Sequence[Moved]], None],
        *,
        is_trial: bool = False,
    ) -> None:
        self._terms = terms
        self._intake = intake
        self._watch = watch
        self._placed = placed
        self._alarm: asyncio.Timeout | None = None
        self._is_wanted = asyncio.Event()
        self._heard_at = 0.0
        self._is_healthy = False  # whether the last connection gave proof of health
        self._arriving: list[Channel] = []  # until the next connection
        self.is_trial = is_trial
        self._most = MOST_CHANNELS
        self.subscriptions: dict[str, Subscription] = {}
        self.session: Session | None = None
        self.canaries: Flock | None = None
        self._unread = 0.0
        self._full_since: float | None = None

    def unread(self, now: float) -> float:
        """For how many seconds, in all, nothing was read because nobody took what was."""
        return self._unread + (0.0 if self._full_since is None else now - self._full_since)

    def add(self, wanted: Subscription) -> None:
        """Have a channel on this line, from the next connection on."""
        self.subscriptions[wanted.topic] = wanted
        self._is_wanted.set()

    def admit(self, channel: Channel) -> None:
        """Take a channel over from another line."""
        self.add(channel.subscription)
        if self.session is None:
            self._arriving.append(channel)
        else:
            for canary in () if self.canaries is None else self.canaries.missing(self.session):
                self.session.add(canary, _now())
            self.session.admit(channel, _now())
            self.wake()

    def release(self, topic: str) -> Channel:
        """Hand a channel over to another line. Only while there is a session."""
        assert self.session is not None, "a channel moves when its session hears something"
        del self.subscriptions[topic]
        if not self.subscriptions:
            self._is_wanted.clear()
        self.wake()
        return self.session.release(topic, _now())

    # What the link asks when it places a channel

    def channel(self, topic: str) -> Channel | None:
        """Return what the session knows of a channel that is on this line."""
        return None if self.session is None else self.session.channels.get(topic)

    @property
    def has_room(self) -> bool:
        """Say whether the server takes another channel on this socket."""
        ours = 0 if self.canaries is None else len(self.canaries.birds)
        return len(self.subscriptions) + ours < self._most

    def fills_up(self) -> bool:
        """
        The server took no more channels: keep to those it has; say whether that is believed.

        The limit is the project's and may be below the usual hundred. A server that takes next
        to none is out of order, and gets no socket for each channel.
        """
        assert self.session is not None
        joined = self.session.joined
        if joined < FEWEST:
            return False
        self._most = min(self._most, joined)
        return True

    def has_others(self, topic: str) -> bool:
        """Say whether a channel shares this line with one that was not refused."""
        assert self.session is not None
        return any(
            channel.refusals == 0 and name != topic and not channel.subscription.canary
            for name, channel in self.session.channels.items()
        )

    def wake(self) -> None:
        """Have the task look at its session's deadline now."""
        if self._alarm is not None and not self._alarm.expired():
            self._alarm.reschedule(_now())

    async def run(self) -> Never:
        """Connect, for ever, while there are channels. Leaves politely when cancelled."""
        pauses = self._terms.backoff()
        while True:
            await self._is_wanted.wait()  # the server drops sockets without channels
            await self._terms.credentials.opened()
            self._is_healthy = False
            try:
                await self._connect()
            except LOST as error:
                lost = self._named(error)
            else:
                continue
            # Being accepted proves nothing: a server that accepts and hangs up must not
            # start the backoff over, or it would be hammered.
            if self._is_healthy:
                pauses = self._terms.backoff()
            pause = next(pauses)
            self._watch.lost(lost, self._terms.address.host, pause)
            await self._terms.sleep(pause)

    def _named(self, error: Exception) -> ConnectionLost:
        lost = ours(error, self._terms.address.host)
        if isinstance(lost, HandshakeRefused) and is_about_token(lost.reason):
            self._terms.key.refused(lost.reason)
        return lost

    def _session(self) -> Session:
        terms = self._terms
        now = _now()
        arriving, self._arriving = self._arriving, []
        moved = {channel.subscription.topic for channel in arriving}
        first = [] if self.canaries is None else self.canaries.connected(self.subscriptions, now)
        wanted = [one for topic, one in self.subscriptions.items() if topic not in moved]
        session = Session(
            [*first, *wanted],
            token=terms.credentials.token,
            now=now,
            timing=terms.timing,
            tenant=terms.tenant,
            backoff=terms.backoff,
            missed_since=self._watch.missed_since,
            is_trial=self.is_trial,
        )
        for channel in arriving:
            session.admit(channel, _now())
        return session

    async def _connect(self) -> None:
        connection = await opened(self._terms.address)
        self.session = session = self._session()  # not before: channels may come meanwhile
        self._heard_at = _now()
        self._watch.opened(self._terms.address.host)
        self._terms.key.accepted()
        try:
            await self._converse(connection, session)
        except LOST as error:
            metrics.connections_lost.inc()
            heard = _now() if is_goodbye(error) else self._heard_at
            since = min([heard, *map(self._proved, self.subscriptions)])
            self._watch.open(self.subscriptions, "connection lost", since, _now())
            raise
        finally:
            self._is_healthy = session.healthy
            self.session = None
            if self.canaries is not None:
                self.canaries.lost(_now())
            await leave(connection)

    async def _converse(self, connection: Wire, session: Session) -> None:
        """Speak with the server until no channel is left on this line."""
        while self.subscriptions:
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
            self._heard_at = now = _now()
            for raw in frames:
                if self._intake.take(raw, session, now):
                    self._look(session, now)
            self._intake.note()
            if self._intake.is_full or now >= until or session.deadline < until:
                return

    async def _wait_for_room(self, connection: Wire, session: Session) -> None:
        self._full_since = _now()
        try:
            await self._stay_alive(connection, session)
        finally:
            self._unread, self._full_since = self.unread(_now()), None
        if _now() >= session.deadline:
            session.excuse(_now())

    async def _stay_alive(self, connection: Wire, session: Session) -> None:
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

    def _look(self, session: Session, now: float) -> None:
        moves = self._watch.moved(session, now, self._proved)
        self._judge_tokens(session, moves)
        if self.canaries is not None:
            moves = self.canaries.heard(session, moves, now)
        if moves:
            self._placed(self, moves)

    def _proved(self, topic: str) -> float:
        return NEVER if self.canaries is None else self.canaries.proved_until(topic)

    def _judge_tokens(self, session: Session, moves: Sequence[Moved]) -> None:
        for move in moves:
            channel = session.channels.get(move.topic)
            if move.refuses_token and channel is not None:
                if self._terms.credentials.refused(channel.token, move.reason):
                    session.hold(channel.token)
            elif move.now is State.READY:
                self._terms.key.accepted()


def _now() -> float:
    return asyncio.get_running_loop().time()
