"""What can a handler ask for?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from .event import Change, Event


@dataclass(frozen=True, slots=True)
class Audit:
    """Write the change down in `audit_logs`; `key` are the columns that name its row."""

    change: Change
    key: tuple[str, ...] = ("id",)


@dataclass(frozen=True, slots=True)
class Put:
    """Keep a value in a cache; an older value never replaces a newer one."""

    cache: str
    key: Any
    value: Any


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget a key of a cache."""

    cache: str
    key: Any


@dataclass(frozen=True, slots=True)
class Notice:
    """Tell somebody: an outbox row, delivered at least once under an id that never changes."""

    id: UUID
    audience: str  # what the recipient is: `agent`, `user`, `team`
    recipient: str
    kind: str  # `lead-moved`: what happened, in the recipient's words
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Count:
    """Add to a counter kept in the database."""

    name: str
    by: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Statement:
    """Run parameterised SQL (`$1`, `$2`, …) in the unit's transaction."""

    sql: str
    args: tuple[Any, ...]


Effect = Audit | Put | Drop | Notice | Count | Statement

KINDS: Mapping[type[Effect], str] = {
    Audit: "audit",
    Put: "put",
    Drop: "drop",
    Notice: "notice",
    Count: "count",
    Statement: "statement",
}


@dataclass(slots=True)
class Effects:
    """
    Collects, in order, what one handler asks for about one event. Nothing is done yet.

    The unit of work commits them together with those of other events, so a handler does
    not see the effects of earlier events of the same unit.
    """

    event: Event
    handler: str
    asked: list[Effect] = field(default_factory=list)
    _notices: int = 0

    def audit(self, change: Change, key: tuple[str, ...] = ("id",)) -> None:
        """
        Ask for one audit row; the change's id keeps it from being written twice.

        `key` names the columns of the primary key. A single uuid becomes `record_id` itself,
        anything else is hashed into it and kept in `record_key`.
        """
        self.asked.append(Audit(change, key))

    def put(self, cache: str, key: Any, value: Any) -> None:
        """Ask for `value` to be kept under `key`."""
        self.asked.append(Put(cache, key, value))

    def drop(self, cache: str, key: Any) -> None:
        """Ask for `key` to be forgotten."""
        self.asked.append(Drop(cache, key))

    def notify(self, audience: str, recipient: str, kind: str, **data: Any) -> None:
        """Ask for a notification; its id derives from the event, the handler and its place."""
        notice_id = uuid5(self.event.id, f"{self.handler}:{self._notices}")
        self._notices += 1
        self.asked.append(Notice(notice_id, audience, recipient, kind, data))

    def count(self, name: str, by: int = 1, **labels: str) -> None:
        """Ask for a database counter to grow by `by`."""
        self.asked.append(Count(name, by, labels))

    def execute(self, sql: str, *args: Any) -> None:
        """Ask for a statement to be run in the unit's transaction, after the audit rows."""
        self.asked.append(Statement(sql, args))


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event, the handler that gave it up, and why."""

    event: Event
    handler: str
    reason: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What handlers asked for about some events, in the events' order, and what was given up."""

    asked: Sequence[Effects]
    dead: Sequence[DeadLetter] = ()
