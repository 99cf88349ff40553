"""Is the worker doing its work, and if not, why?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Never, Protocol

import structlog

from .. import backoff, metrics
from ..errors import DatabaseAway

log = structlog.get_logger()

PING_SECONDS = 2.0  # between two looks at a database that answers
PING_TIMEOUT = 2.0
LOOK_SECONDS = 0.2  # readiness is the link's, too, and costs two attributes to read
AWAY_CAP = 5.0  # a database that came back is to be seen soon


class Connected(Protocol):
    """What the link says of itself."""

    @property
    def connected(self) -> bool: ...
    @property
    def ready(self) -> bool: ...
    @property
    def channels(self) -> Mapping[str, str]: ...
    @property
    def token_missing(self) -> str | None: ...
    @property
    def doubts(self) -> Sequence[str]: ...


class Answering(Protocol):
    """What a database says of itself."""

    async def ping(self, timeout: float) -> float: ...


class Handling(Protocol):
    """What the lane says of itself."""

    @property
    def held_up(self) -> str | None: ...


Missing = Callable[[], Awaitable[Sequence[str]]]


async def nothing_missing() -> Sequence[str]:
    """Where there are no migrations of ours, none is missing."""
    return ()


class Health:
    """What is known of the worker's health. `draining` is set by whoever stops it."""

    def __init__(
        self,
        link: Connected,
        database: Answering,
        missing: Missing = nothing_missing,
        *,
        lane: Handling | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.draining = False
        self.link = link
        self.database_away: str | None = "not reached yet"
        self.migrations_missing: Sequence[str] = ()
        self._database = database
        self._missing = missing
        self._lane = lane
        self._sleep = sleep

    @property
    def ready(self) -> bool:
        return not self.reasons()

    def reasons(self) -> list[str]:
        """Say why the worker is not ready, one line for each reason; nothing when it is."""
        found = ["the worker is draining"] if self.draining else []
        if self.database_away is not None:
            found.append(f"the database is away: {self.database_away}")
        # The database may answer and take nothing: it is read-only, full, or a table is missing.
        elif self._lane is not None and (held_up := self._lane.held_up) is not None:
            found.append(held_up)
        if self.migrations_missing:
            names = ", ".join(self.migrations_missing)
            found.append(f"migrations are missing: {names} (python -m worker migrate)")
        if not self.link.ready:
            if self.link.token_missing is not None:
                found.append(self.link.token_missing)
            if not self.link.connected:
                found.append("there is no connection to Realtime")
            found += [
                f"channel {topic} is {state}"
                for topic, state in self.link.channels.items()
                if state != "ready"
            ]
            found += self.link.doubts
        return found

    async def watch_database(self) -> Never:
        """Ask the database for an answer again and again; say when it is away and when back."""
        pauses = backoff.waits(cap=AWAY_CAP)
        away_since: float | None = None
        migrated = False
        while True:
            try:
                await self._database.ping(timeout=PING_TIMEOUT)
                migrated = migrated or await self._is_migrated()
            except DatabaseAway as error:
                self.database_away = str(error)
                if away_since is None:
                    away_since = time.monotonic()
                    log.warning("database.away", reason=str(error))
                await self._sleep(next(pauses))
                continue
            self.database_away = None
            if away_since is not None:
                log.info("database.back", seconds=round(time.monotonic() - away_since, 1))
                pauses, away_since = backoff.waits(cap=AWAY_CAP), None
            await self._sleep(PING_SECONDS)

    async def _is_migrated(self) -> bool:
        """Say so once if not; a deploy may start us before its migrations have run."""
        found = await self._missing()
        if found and not self.migrations_missing:
            log.error("migrations.missing", names=list(found))
        self.migrations_missing = found
        return not found

    async def watch_readiness(self) -> Never:
        """Say when the worker gets ready and when it is ready no more."""
        was = False
        metrics.ready.set(0)
        while True:
            if self.ready is not was:
                was = not was
                metrics.ready.set(was)
                if was:
                    log.info("worker.ready", channels=len(self.link.channels))
                elif not self.draining:
                    log.warning("worker.unready", reasons=self.reasons())
            await self._sleep(LOOK_SECONDS)
