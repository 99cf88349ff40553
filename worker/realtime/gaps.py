"""Since when may events of which tables and topics have been missed?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import uuid4

from ..event import Gap
from ..subscription import Subscription


@dataclass(frozen=True, slots=True)
class Scope:
    """What a gap is about: tables with their schema, topics without the prefix of the wire."""

    tables: frozenset[str]
    topics: frozenset[str]


class Gaps:
    """
    The open gaps, one for each channel at most: no I/O, and time is an argument.

    A channel's gap is open whenever events do not flow through it, beginning with the start.
    """

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._tables = {wanted.topic: wanted.tables for wanted in subscriptions}
        self._open: dict[str, tuple[str, float]] = {}
        self._held: dict[str, set[str]] = {}  # who will not have a topic's gap closed

    def __len__(self) -> int:
        return len(self._open)

    def scope(self, topics: Iterable[str]) -> Scope:
        """Return the topics that are ours with their tables."""
        ours = frozenset(topic for topic in topics if topic in self._tables)
        return Scope(frozenset().union(*(self._tables[topic] for topic in ours)), ours)

    def open(self, topics: Iterable[str], reason: str, now: float) -> Scope | None:
        """
        Open a gap for each of the topics; return what is new about it, None for nothing.

        One that is open already begins at `now` if that is earlier.
        """
        topics = tuple(topics)
        fresh = [topic for topic in topics if topic not in self._open]
        for topic in topics:
            reason_of_open, since = self._open.get(topic, (reason, now))
            self._open[topic] = reason_of_open, min(since, now)
        return self.scope(fresh) if fresh else None

    def hold(self, topics: Iterable[str], holder: str) -> None:
        """Keep the gaps of these topics from closing until `let_go` is told of this holder."""
        for topic in topics:
            self._held.setdefault(topic, set()).add(holder)

    def let_go(self, holder: str) -> list[str]:
        """Return the topics whose gaps nobody holds any more."""
        held = [topic for topic, holders in self._held.items() if holder in holders]
        for topic in held:
            self._held[topic].discard(holder)
        free = [topic for topic in held if not self._held[topic]]
        for topic in free:
            del self._held[topic]
        return free

    def close(self, topic: str, now: float) -> Gap | None:
        """Close the topic's gap and return it; None where there is none, or somebody holds it."""
        if topic not in self._open or topic in self._held:
            return None
        reason, since = self._open.pop(topic)
        return gap(reason, self.scope([topic]), since, now)


def gap(reason: str, scope: Scope, opened: float, closed: float) -> Gap:
    """Return a gap that is over."""
    return Gap(
        id=uuid4(),
        reason=reason,
        tables=scope.tables,
        topics=scope.topics,
        opened=opened,
        closed=closed,
    )
