"""Which channel is on which line, and who gets what all of them hear?"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Never

import structlog

from ..backoff import reconnects
from ..event import Gap
from ..subscription import Subscription
from .canaries.beating import Beating, Beats
from .channel import Moved, State
from .credentials import Credentials, Key, KeyAlone
from .events import Decoder
from .handover import Handover
from .intake import Intake
from .joining import Tenant
from .line import Line, Terms
from .refusals import FULL
from .socket import Address
from .timing import Timing
from .watch import Listener, Watch

log = structlog.get_logger()

SETTLE = 0.3  # seconds for events already read to be handed on when we leave


class Link:
    """
    The connection to Realtime: as many lines as its channels need, through all reconnections.

    Joins carry the key, or the token of the `credentials`. With `beats`, what is sent has to come
    back; without, the silence of a channel is believed. `tap` sees every raw frame, and every gap
    that closes, in the order they happen.
    """

    def __init__(
        self,
        *,
        url: str,
        key: str,
        subscriptions: Sequence[Subscription],
        listener: Listener,
        hidden_columns: frozenset[str],
        credentials: Credentials | None = None,
        heartbeat: float = 25.0,
        tap: Callable[[bytes | Gap], None] | None = None,
        beats: Beats | None = None,
        timing: Timing | None = None,
        backoff: Callable[[], Iterator[float]] = reconnects,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        timing = timing or Timing(heartbeat=heartbeat, silence=min(20.0, heartbeat * 0.8))
        self._key = Key(key)
        self._credentials = credentials or KeyAlone(self._key)
        self._credentials.on_renewed(self._renewed)
        self._terms = Terms(
            Address.of(url, key),
            self._key,
            self._credentials,
            timing,
            Tenant(),
            backoff,
            sleep,
        )
        self._subscriptions = tuple(subscriptions)
        self._listener = listener
        self._handover = Handover()
        self._watch = Watch(self._subscriptions, listener, self._handover, tap)
        decoder = Decoder(hidden_columns, seed=os.urandom(16))
        self._intake = Intake(decoder, self._handover, self._watch, tap)
        self.lines: list[Line] = []
        self._beating = (
            None
            if beats is None
            else Beating(beats, self._watch, newest=lambda: self._handover.newest)
        )
        self._tasks: asyncio.TaskGroup | None = None
        self._running: list[asyncio.Task[Never]] = []
        for wanted in self._subscriptions:
            self._line(is_trial=False).add(wanted)

    @property
    def connected(self) -> bool:
        """Say whether every line has its socket open; a trial is no matter."""
        main = [line for line in self.lines if line.subscriptions and not line.is_trial]
        return bool(main) and all(line.session is not None for line in main)

    @property
    def ready(self) -> bool:
        """Say whether events flow through every channel, as far as beats can prove it."""
        used = [line for line in self.lines if line.subscriptions]
        flow = all(line.session is not None and line.session.ready for line in used)
        return flow and not self.doubts

    @property
    def doubts(self) -> list[str]:
        """Why events may not flow although every channel is ready."""
        return [] if self._beating is None else self._beating.doubts()

    @property
    def channels(self) -> dict[str, str]:
        """Each topic's state by name; `down` without a connection."""
        states = {wanted.topic: "down" for wanted in self._subscriptions}
        for line in self.lines:
            if line.session is not None:
                of_line = line.session.channels.items()
                states.update((topic, channel.state.value) for topic, channel in of_line)
        return {wanted.topic: states[wanted.topic] for wanted in self._subscriptions}

    @property
    def token_missing(self) -> str | None:
        """Why the server takes no token of ours; None while it does."""
        return self._key.missing or self._credentials.missing

    async def run(self) -> Never:
        """Connect, for ever. Cancelled to stop: leaves politely, within a second."""
        async with asyncio.TaskGroup() as tasks:
            handing_on = self._handover.run(self._listener.receive, self._watch.handing_on)
            tasks.create_task(handing_on, name="realtime-handover")
            tasks.create_task(self._credentials.run(), name="realtime-credentials")
            self._watch.start(_now())
            self._tasks = tasks
            for line in self.lines:
                self._start(line)
            if self._beating is not None:
                tasks.create_task(self._beating.run(), name="realtime-canary")
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                await self._leave()
        raise AssertionError("unreachable: staying connected never ends")

    async def _leave(self) -> None:
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE):
                await self._handover.empty()

    def _renewed(self, token: str | None) -> None:
        for line in self.lines:
            if line.session is not None:
                line.session.renew(token, _now())
                line.wake()

    # Which channel is on which line

    def _line(self, *, is_trial: bool) -> Line:
        """Return a line of that kind with room for a channel, a new one if need be."""
        for line in self.lines:
            if line.is_trial is is_trial and line.has_room:
                return line
        line = Line(self._terms, self._intake, self._watch, self._placed, is_trial=is_trial)
        if self._beating is not None and not is_trial:
            self._beating.attach(line)
        self.lines.append(line)
        if self._tasks is not None:
            self._start(line)
        return line

    def _start(self, line: Line) -> None:
        assert self._tasks is not None
        number = len(self._running)
        task = self._tasks.create_task(line.run(), name=f"realtime-line-{number}")
        self._running.append(task)

    def _placed(self, line: Line, moves: Sequence[Moved]) -> None:
        """
        Give the channels that moved another line where that is better.

        A join that is refused holds up everything on its socket for five seconds: whoever is
        refused for good, or again, tries on a socket apart, and comes back once accepted.
        """
        for topic in {move.topic for move in moves if move.before is State.JOINING}:
            channel = line.channel(topic)
            if channel is None:
                continue
            if line.is_trial:
                if channel.state is State.JOINED:
                    channel.refusals = 1  # the next one is enough
                    self._line(is_trial=False).admit(line.release(topic))
            elif channel.is_joined:
                continue
            elif channel.reason.startswith(FULL) and line.fills_up():
                self._line(is_trial=False).admit(line.release(topic))
            elif channel.is_doubtful and line.has_others(topic):
                log.info("channel.isolated", topic=topic)
                self._line(is_trial=True).admit(line.release(topic))


def _now() -> float:
    return asyncio.get_running_loop().time()
