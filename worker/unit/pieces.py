"""What is to be written of what one handler asked for about one event?"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import index
from typing import Any
from uuid import UUID, uuid5

import orjson

from ..effects import Audit, Count, Drop, Effects, Notice, Put, Statement
from ..event import Change, Row

# Fixed for ever: a row without a uuid of its own keeps the same record_id.
_RECORDS = UUID("6f0c6c1e-7d5e-4c0b-9a0e-2b1f6c2d9e57")

# A unit is one transaction of a borrowed session: a handler's statement may end neither the one
# nor change the other for whoever borrows it next. COPY would wait for data that nobody sends.
_NOT_OURS = re.compile(
    r"(?:\s|;|--[^\n]*\n|/\*.*?\*/)*"
    r"(?:abort|begin|commit|copy|deallocate|discard|end|prepare|release|reset|rollback|savepoint"
    r"|set|start)\b",
    re.IGNORECASE | re.DOTALL,
)

Hide = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows ready to be written: all of them or, when the fault is theirs, none."""

    effects: Effects
    audits: list[tuple[Any, ...]] = field(default_factory=list)
    notices: list[tuple[Any, ...]] = field(default_factory=list)
    counts: list[tuple[str, str, int]] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.audits or self.notices or self.counts or self.statements)


def cut(effects: Effects, hide: Hide) -> Piece:
    """Raises TypeError or ValueError, as a rule, for what cannot be written."""
    piece = Piece(effects)
    for effect in effects.asked:
        match effect:
            case Audit():
                piece.audits.append(_audit(effect.change, effect.key, hide))
            case Notice():
                piece.notices.append(_notice(effect))
            case Count():
                labels = orjson.dumps(effect.labels, option=orjson.OPT_SORT_KEYS).decode()
                piece.counts.append((effect.name, labels, index(effect.by)))
            case Statement():
                piece.statements.append(_checked(effect))
            case Put() | Drop():
                pass  # not written: it goes to the caches
            case _:
                raise TypeError(f"{type(effect).__name__} is no effect")
    return piece


def _checked(statement: Statement) -> Statement:
    sql = statement.sql.encode()  # half a surrogate pair cannot be sent
    if b"\0" in sql:
        raise ValueError("a statement cannot hold a NUL character")
    if _NOT_OURS.match(statement.sql):
        raise ValueError("a statement leaves transaction and session as they are")
    return statement


def as_json(value: Any) -> str:
    """What JSON has no word for (a decimal, a class of a record) is written as text."""
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _audit(change: Change, key: tuple[str, ...], hide: Hide) -> tuple[Any, ...]:
    record_id, record_key = _record(change, key)
    return (
        change.id,
        change.schema,
        change.name,
        record_id,
        record_key,
        change.kind,
        _row(change.old, hide),
        _row(change.record, hide),
        change.committed,
    )


def _row(row: Row, hide: Hide) -> str | None:
    return as_json(hide(dict(row))) if row else None


def _record(change: Change, key: tuple[str, ...]) -> tuple[UUID, str | None]:
    row = change.row
    try:
        held = {column: row[column] for column in key}
    except KeyError:  # left out for its size: nothing names the row
        return uuid5(_RECORDS, f"{change.table} {change.id}"), None
    if len(held) == 1:
        (value,) = held.values()
        if isinstance(value, str):
            try:
                return UUID(value), None
            except ValueError:
                pass
    written = as_json(held)
    return uuid5(_RECORDS, f"{change.table} {written}"), written


def _notice(notice: Notice) -> tuple[Any, ...]:
    data = as_json(notice.data)
    return notice.id, notice.audience, str(notice.recipient), notice.kind, data
