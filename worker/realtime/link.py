"""How do we stay connected to Realtime, and what may have been missed?"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Never

import structlog

from .. import metrics
from ..backoff import waits
from ..errors import ConfigError, FrameError
from ..event import Event, Gap
from ..subscription import Subscription
from .channel import Timing
from .events import CARRIERS, Decoder, Withheld
from .handover import Handover
from .protocol import decode
from .session import MOST_CHANNELS, Session
from .socket import LOST, Address, leave, opened, ours, send
from .watch import Listener, Watch
from .wire import Wire

log = structlog.get_logger()

SETTLE = 0.3  # seconds for events already read to be handed on when we leave

_COUNTED = CARRIERS | {"phx_reply", "phx_close", "phx_error", "system"}


class Link:
    """
    The connection to Realtime, through all the connections it takes.

    `tap` sees every raw frame, and every gap that closes, in the order they happen.
    """

    def __init__(
        self,
        *,
        url: str,
        key: str,
        subscriptions: Sequence[Subscription],
        listener: Listener,
        hidden_columns: frozenset[str],
        heartbeat: float = 25.0,
        tap: Callable[[bytes | Gap], None] | None = None,
        timing: Timing | None = None,
        backoff: Callable[[], Iterator[float]] = waits,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if len(subscriptions) > MOST_CHANNELS:
            raise ConfigError(f"{len(subscriptions)} channels: Realtime allows {MOST_CHANNELS}")
        self._address = Address.of(url, key)
        self._subscriptions = tuple(subscriptions)
        self._listener = listener
        self._tap = tap
        self._timing = timing or Timing(heartbeat=heartbeat, silence=min(20.0, heartbeat * 0.8))
        self._backoff = backoff
        self._sleep = sleep
        self._decoder = Decoder(hidden_columns, seed=os.urandom(16))
        self._handover = Handover()
        self._watch = Watch(self._subscriptions, listener, self._handover, tap)
        self._session: Session | None = None
        self._frames = {name: metrics.frames_received.labels(name) for name in _COUNTED}
        self.last_frame_at: float | None = None  # the event loop's clock

    @property
    def connected(self) -> bool:
        """Say whether a socket is open."""
        return self._session is not None

    @property
    def ready(self) -> bool:
        """Say whether events flow through every channel."""
        return not self._subscriptions or (self._session is not None and self._session.ready)

    @property
    def channels(self) -> dict[str, str]:
        """Each topic's state by name; `down` without a connection."""
        if self._session is None:
            return {wanted.topic: "down" for wanted in self._subscriptions}
        return {topic: channel.state.value for topic, channel in self._session.channels.items()}

    async def run(self) -> Never:
        """Connect, for ever. Cancelled to stop: leaves politely, within a second."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hand_on(), name="realtime-handover")
            self._watch.open_all("start", _now())
            try:
                await self._stay_connected()
            finally:
                with suppress(TimeoutError):
                    async with asyncio.timeout(SETTLE):
                        await self._handover.empty()
        raise AssertionError("unreachable: staying connected never ends")

    async def _hand_on(self) -> Never:
        async def receive(event: Event, size: int) -> None:
            if type(event) is Gap:
                self._watch.handing_on(event)
            await self._listener.receive(event, size)

        await self._handover.run(receive)

    async def _stay_connected(self) -> Never:
        if not self._subscriptions:  # the server drops sockets without channels
            await asyncio.get_running_loop().create_future()
        pauses = self._backoff()
        while True:
            session = Session(
                self._subscriptions,
                token=self._address.token,
                now=_now(),
                timing=self._timing,
                backoff=self._backoff,
            )
            try:
                await self._connect(session)
            except LOST as error:
                lost = ours(error, self._address.host)
            # Being accepted proves nothing: a server that accepts and hangs up must not
            # start the backoff over, or it would be hammered.
            if session.healthy:
                pauses = self._backoff()
            pause = next(pauses)
            self._watch.lost(lost, self._address.host, pause)
            await self._sleep(pause)

    async def _connect(self, session: Session) -> Never:
        connection = await opened(self._address)
        metrics.connections_opened.inc()
        log.info("connection.opened", host=self._address.host)
        self._session = session
        try:
            await self._converse(connection, session)
        except LOST:
            metrics.connections_lost.inc()
            self._watch.open_all("connection lost", _now())
            raise
        finally:
            self._session = None
            await leave(connection)

    async def _converse(self, connection: Wire, session: Session) -> Never:
        while True:
            # Before reading: with a frame always waiting, reading alone never comes to an end.
            if _now() >= session.deadline:
                await send(connection, session.tick(_now()))
                self._watch.moved(session, _now())
            try:
                async with asyncio.timeout_at(session.deadline):
                    await self._read(connection, session)
            except TimeoutError:
                continue
            if self._handover.is_full:
                await self._wait_for_room(connection, session)

    async def _read(self, connection: Wire, session: Session) -> None:
        """Read until there is something else to do: one timeout serves many frames."""
        until = session.deadline
        while True:
            frames = await connection.read()
            now = _now()
            for raw in frames:
                self._take(raw, session, now)
            if self._handover.is_full or now >= until or session.deadline < until:
                return

    async def _wait_for_room(self, connection: Wire, session: Session) -> None:
        while self._handover.is_full:
            try:
                async with asyncio.timeout_at(session.beat_at):
                    await self._handover.room()
            except TimeoutError:
                session.excuse(_now())
                await send(connection, session.beat(_now()))
        if _now() >= session.deadline:
            session.excuse(_now())

    def _take(self, raw: bytes, session: Session, now: float) -> None:
        """Take one frame in: an event is put into the hand-over, the rest is the session's."""
        self.last_frame_at = now
        session.heard = True
        if self._tap is not None:
            self._tap(raw)
        topic = event = None
        try:
            frame = decode(raw)
            topic, event = frame.topic, frame.event
            counter = self._frames.get(event)
            (counter or metrics.frames_received.labels("other")).inc()
            if event not in CARRIERS:
                session.receive(frame, now)
                self._watch.moved(session, now)
                return
            if not session.knows(topic):
                raise FrameError("unknown topic")
            carried = self._decoder.read(frame, raw)
        except FrameError as error:
            self._watch.unreadable(error.kind, topic, event, now)
        else:
            if isinstance(carried, Withheld):
                self._watch.withheld(carried, now)
            elif carried is not None:
                self._handover.put(carried, len(raw))


def _now() -> float:
    return asyncio.get_running_loop().time()
