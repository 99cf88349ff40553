"""What does a handler receive?"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

Kind = Literal["INSERT", "UPDATE", "DELETE", "TRUNCATE", "READ"]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    One row that was inserted, updated or deleted.

    `record` is the row after the change, empty for a DELETE. `old` is what is known of
    the row before it: the whole row where the table has REPLICA IDENTITY FULL, otherwise
    the key only; empty for an INSERT. Values are as JSON carries them: numbers, strings,
    booleans, lists, mappings; a timestamptz is ISO 8601 text.
    """

    id: UUID  # handlers' effects are keyed on it; the same frame replayed has the same id
    schema: str
    name: str
    kind: Kind
    record: Row = field(default_factory=dict)
    old: Row = field(default_factory=dict)
    committed_at: str | None = None  # ISO 8601, UTC, milliseconds; None where Realtime did not say
    columns: Mapping[str, str] = field(default_factory=dict)  # column name → Postgres type name
    errors: tuple[str, ...] = ()  # what Realtime says is wrong with it: a 413 has columns missing
    _late_columns: Callable[[], Mapping[str, str]] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    @property
    def table(self) -> str:
        """Schema and name with a dot, as a route names it: `public.leads`."""
        return f"{self.schema}.{self.name}"

    @property
    def row(self) -> Row:
        """The row it is about: the new one, or the old one of a DELETE."""
        return self.old if self.kind == "DELETE" else self.record

    @property
    def committed(self) -> datetime | None:
        """`committed_at` as an aware datetime."""
        return None if self.committed_at is None else datetime.fromisoformat(self.committed_at)

    if not TYPE_CHECKING:  # it is only asked for what is not there, which the types do not know

        def __getattr__(self, name: str) -> Any:
            if name != "columns" or self._late_columns is None:
                raise AttributeError(name)
            columns = self._late_columns()
            object.__setattr__(self, "columns", columns)
            return columns


class _Draft:
    """A change that can still be written to."""

    __slots__ = Change.__slots__


def late_change(
    change_id: UUID,
    schema: str,
    name: str,
    kind: Kind,
    record: Row,
    old: Row,
    committed_at: str | None,
    errors: tuple[str, ...],
    late_columns: Callable[[], Mapping[str, str]],
) -> Change:
    """
    Return a change whose `columns` are made when they are first asked for.

    It becomes a Change as it is finished: the constructor of a frozen class takes four times as
    long, and this is done for every frame.
    """
    draft: Any = _Draft()
    draft.id = change_id
    draft.schema = schema
    draft.name = name
    draft.kind = kind
    draft.record = record
    draft.old = old
    draft.committed_at = committed_at
    draft.errors = errors
    draft._late_columns = late_columns
    draft.__class__ = Change
    change: Change = draft
    return change


@dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast:
    """
    One broadcast message of a topic.

    `payload` is whatever the sender put there: JSON of any shape, or bytes.
    """

    id: UUID  # meta.id where Realtime gave one, so that a replayed message is known again
    topic: str  # without the `realtime:` prefix
    event: str
    payload: Any
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """
    Who came and who went on a topic: a `presence_diff`, or the `presence_state` after a join.

    `joins` and `leaves` map a presence key to its metas (a list of mappings with `phx_ref`).
    A `full` one holds everybody there is: whoever is not in `joins` is not there.
    """

    id: UUID
    topic: str
    joins: Mapping[str, tuple[Row, ...]]
    leaves: Mapping[str, tuple[Row, ...]]
    full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """
    Some time in which events of these tables and topics may have been missed.

    Given to handlers when it closes: reading again from now on finds all that was missed.
    `opened` and `closed` are seconds of the worker's monotonic clock.
    """

    id: UUID
    reason: str
    tables: frozenset[str]
    topics: frozenset[str]
    opened: float
    closed: float


Event = Change | Broadcast | Presence | Gap


def plain(value: Any) -> Any:
    """
    Return an event, or what one holds, in JSON's own shapes; bytes become base64 text.

    What JSON has no word for (a uuid, a date) becomes text; sets become sorted lists.
    """
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(inner) for inner in value)
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(value).decode()
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if not field.name.startswith("_")]
        return {name: plain(getattr(value, name)) for name in names}
    return str(value)
