"""When is a beat sent, and when is looked whether it came?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Never, Protocol

import structlog

from ...backoff import waits
from ...errors import DatabaseAway
from ...event import Event
from ..heartbeat import NEVER
from ..session import Session
from ..watch import Watch
from .canary import Canary, Kind
from .flock import Flock

log = structlog.get_logger()

WRITE_SECONDS = 10.0  # for the database to take a beat
LEAST_SECONDS = 1.0  # between two beats, however often one is wanted
LOOK_SECONDS = 0.05  # between two looks, while nothing is read and all deadlines move
GROUNDED_SECONDS = 60.0  # without a ready channel, until that is a reason not to be ready

# Between remedies that do not help, seconds: a reconnection costs every channel a gap.
pauses = partial(waits, first=30.0, cap=600.0)


class Written(Protocol):
    """The row that is written to come back; `worker.db.beats.Row` is one."""

    @property
    def worker(self) -> str: ...

    async def write(self, number: int) -> str | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Beats:
    """What is sent to come back. Times are in seconds."""

    row: Written
    every: float = 30.0
    patience: float = 20.0
    kinds: tuple[Kind, ...] = ("changes", "broadcast")
    pauses: Callable[[], Iterator[float]] = pauses


class Perch(Protocol):
    """A line, as far as its canaries know it."""

    session: Session | None
    canaries: Flock | None

    def unread(self, now: float) -> float: ...

    def wake(self) -> None: ...


class Beating:
    """Sends beats on all lines and has each look whether they came."""

    def __init__(self, beats: Beats, watch: Watch, newest: Callable[[], Event | None]) -> None:
        self._beats = beats
        self._newest = newest
        self._watch = watch
        self._lines: list[Perch] = []
        self._woken = asyncio.Event()
        self._number = 0
        self._last = -NEVER
        self._refused: dict[Kind, str] = {}  # what the server said, not yet explained
        self._disabled: set[Kind] = set()
        self._is_unwritten = False

    def attach(self, line: Perch) -> None:
        """Give a line its canaries, before it is connected."""
        beats = self._beats
        line.canaries = Flock(
            beats.kinds,
            name=f"{beats.row.worker}:{len(self._lines)}",
            worker=beats.row.worker,
            patience=beats.patience,
            pauses=beats.pauses,
            watch=self._watch,
            newest=self._newest,
            told=self._told,
            wake=self._woken.set,
        )
        self._lines.append(line)

    def doubts(self) -> list[str]:
        """Say which beats do not come, and which canaries cannot fly."""
        now = _now()
        found: dict[str, None] = {}  # in order; the lines of a link have much in common
        for line, canaries in self._flocks():
            for kind, bird in canaries.birds.items():
                if bird.silent_since is not None:
                    found[f"no canary beat for {now - bird.silent_since:.0f} s ({kind})"] = None
                elif line.session is not None and kind not in self._disabled:
                    grounded = canaries.grounded(kind, now)
                    if grounded > GROUNDED_SECONDS:
                        found[f"the canary of {kind} cannot fly for {grounded:.0f} s"] = None
        return list(found)

    async def run(self) -> Never:
        """Send and look, for ever."""
        while True:
            now = _now()
            self._look(now)
            if self._refused:
                await self._explain()
            if now >= self._due():
                await self._send(now)
                continue
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(max(self._deadline(), now + LOOK_SECONDS)):
                    await self._woken.wait()

    def _flocks(self) -> Iterator[tuple[Perch, Flock]]:
        for line in self._lines:
            if line.canaries is not None:
                yield line, line.canaries

    def _birds(self) -> Iterator[Canary]:
        for _, canaries in self._flocks():
            yield from canaries.birds.values()

    def _look(self, now: float) -> None:
        for line, canaries in self._flocks():
            if line.session is not None and canaries.look(line.session, line.unread(now), now):
                line.wake()

    def _due(self) -> float:
        """When the next beat is to be sent: never, where there is nothing it could come by."""
        if any(bird.wanted for bird in self._birds()):
            return self._last + min(LEAST_SECONDS, self._beats.every)
        return self._last + self._beats.every if any(b.is_flying for b in self._birds()) else NEVER

    def _deadline(self) -> float:
        return min([self._due(), *(bird.deadline for bird in self._birds())])

    async def _send(self, now: float) -> None:
        self._number += 1
        self._last = now
        is_written = False
        for line, canaries in self._flocks():
            if line.session is not None:
                is_written |= canaries.begin(line.session, self._number, now)
                line.wake()
        if is_written:
            await self._write(self._number)

    async def _write(self, number: int) -> None:
        try:
            reason = await self._written(number)
        except (DatabaseAway, TimeoutError) as error:
            if not self._is_unwritten:
                self._is_unwritten = True
                log.warning("canary.unwritten", reason=str(error) or "no answer in time")
            for _, canaries in self._flocks():
                canaries.unwritten(number)
            return
        self._is_unwritten = False
        for _, canaries in self._flocks():
            if reason is None:
                canaries.written(number, _now())
            else:
                canaries.excused("changes", _now())
        if reason is not None:
            self._disable("changes", reason)

    async def _written(self, number: int) -> str | None:
        async with asyncio.timeout(WRITE_SECONDS):
            return await self._beats.row.write(number)

    # What is said once

    def _told(self, kind: Kind, refusal: str | None) -> None:
        """A canary tells why the server does not let it fly, or that its beat came."""
        if refusal is not None:
            self._refused[kind] = refusal
            self._woken.set()
        elif kind in self._disabled:
            self._disabled.discard(kind)
            log.info("canary.enabled", kind=kind)

    async def _explain(self) -> None:
        """The server has no word for the database that is not its own; the database has."""
        for kind, refusal in self._refused.items():
            reason = None
            if kind == "changes" and kind not in self._disabled:
                with suppress(DatabaseAway, TimeoutError):
                    self._number += 1
                    reason = await self._written(self._number)
            self._disable(kind, reason or refusal)
        self._refused.clear()

    def _disable(self, kind: Kind, reason: str) -> None:
        if kind not in self._disabled:
            self._disabled.add(kind)
            log.warning("canary.disabled", kind=kind, reason=reason)


def _now() -> float:
    return asyncio.get_running_loop().time()
