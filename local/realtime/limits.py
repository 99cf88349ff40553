"""Has somebody been too fast, on average over the last minute?"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

BUCKETS = 12


class Rate:
    """
    An average over at most 12 ticks, which is looked at when a tick ends.

    So a limit is noticed late and forgotten late; while there are few ticks, one of them weighs
    much: the first counts alone. `limit` is per second, None is none; `tick` is in seconds.
    """

    def __init__(self, limit: float | None, tick: float) -> None:
        self.triggered = False
        self._average = 0.0
        self._limit = limit
        self._tick = tick
        self._count = 0
        self._buckets: deque[int] = deque(maxlen=BUCKETS)

    def count(self, number: int = 1) -> None:
        self._count += number

    def tick(self) -> None:
        """End a tick: only now is it known whether it was too much."""
        self._buckets.append(self._count)
        self._count = 0
        self._average = sum(self._buckets) / (len(self._buckets) * self._tick)
        self.triggered = self._limit is not None and self._average >= self._limit

    def has_room_for(self, number: int) -> bool:
        """Say whether so many at once, on top of a second as they were, are within the limit."""
        return self._limit is None or self._average + number <= self._limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is allowed per second, and presence calls of one channel per window; None is all."""

    events: float | None = None  # broadcasts sent and received, of everybody together
    joins: float | None = None
    changes: float | None = None  # counted once for each subscription that matches
    presence: float | None = None
    presence_calls: int | None = None
    presence_window: float = 30.0  # seconds
    tick: float = 5.0  # seconds

    def __post_init__(self) -> None:
        if self.tick <= 0:
            raise ValueError("limits.tick: more than 0 seconds")


REAL = Limits(events=100, joins=100, changes=100, presence=1000, presence_calls=5)


class Rates:
    """The averages that all connections share."""

    def __init__(self, limits: Limits) -> None:
        self.events = Rate(limits.events, limits.tick)
        self.joins = Rate(limits.joins, limits.tick)
        self.changes = Rate(limits.changes, limits.tick)
        self.presence = Rate(limits.presence, limits.tick)

    def tick(self) -> None:
        for rate in (self.events, self.joins, self.changes, self.presence):
            rate.tick()


@dataclass(slots=True)
class Window:
    """How often within a window that begins with the first call; `clock` gives seconds."""

    limit: int | None
    length: float
    clock: Callable[[], float]
    _ends: float = field(default=float("-inf"))
    _calls: int = 0

    def allows(self) -> bool:
        """Count a call; False when it is one too many."""
        now = self.clock()
        if now > self._ends:
            self._ends, self._calls = now + self.length, 0
        self._calls += 1
        return self.limit is None or self._calls <= self.limit
