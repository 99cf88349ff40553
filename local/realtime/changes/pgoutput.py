"""What does one pgoutput message (protocol version 1) say?"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Unchanged(enum.Enum):
    """A value that stayed in TOAST storage: the WAL does not carry it."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED
Value = str | None | Unchanged
Values = tuple[Value, ...]


class UnreadableMessage(Exception):
    """The bytes are not a pgoutput message of protocol version 1."""


@dataclass(frozen=True, slots=True)
class RelationColumn:
    name: str
    identity: bool  # part of the replica identity; with FULL every column is
    type_oid: int
    type_modifier: int


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as it was when the rows that follow were written."""

    oid: int
    schema: str
    table: str
    full: bool  # REPLICA IDENTITY FULL
    columns: tuple[RelationColumn, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    committed_at: datetime
    xid: int


@dataclass(frozen=True, slots=True)
class Row:
    """One changed row. `old` is None when the identity of an UPDATE did not change."""

    relation_oid: int
    action: str  # INSERT, UPDATE, DELETE
    new: Values | None
    old: Values | None


@dataclass(frozen=True, slots=True)
class Other:
    """Commit, truncate, type, origin and logical messages: nothing for a subscriber."""

    kind: str


Message = Begin | Relation | Row | Other
OTHERS = frozenset("CTYOM")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def number(self, kind: str) -> int:
        found: int = struct.unpack_from(">" + kind, self.data, self.at)[0]
        self.at += struct.calcsize(">" + kind)
        return found

    def byte(self) -> str:
        return chr(self.number("B"))

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        found = self.data[self.at : end].decode()
        self.at = end + 1
        return found

    def values(self) -> Values:
        return tuple(self._value() for _ in range(self.number("h")))

    def _value(self) -> Value:
        kind = self.byte()
        if kind == "n":
            return None
        if kind == "u":
            return UNCHANGED
        if kind != "t":
            raise UnreadableMessage(f"a value of kind {kind!r}")
        length = self.number("i")
        if not 0 <= length <= len(self.data) - self.at:
            raise UnreadableMessage("a value longer than its message")
        found = self.data[self.at : self.at + length].decode()
        self.at += length
        return found


def decode(data: bytes) -> Message:
    """Raise UnreadableMessage for anything PostgreSQL would not send with proto_version 1."""
    try:
        return _decode(_Reader(data))
    # Cut short; no end of a name, not UTF-8; a time beyond the calendar.
    except (struct.error, ValueError, OverflowError) as error:
        raise UnreadableMessage(str(error)) from error


def _decode(reader: _Reader) -> Message:
    kind = reader.byte()
    if kind == "B":
        return _begin(reader)
    if kind == "R":
        return _relation(reader)
    if kind in "IUD":
        return _row(reader, kind)
    if kind in OTHERS:
        return Other(kind)
    raise UnreadableMessage(f"a message of kind {kind!r}")


def _begin(reader: _Reader) -> Begin:
    reader.number("Q")  # where the transaction ends
    microseconds = reader.number("q")
    return Begin(EPOCH + timedelta(microseconds=microseconds), xid=reader.number("I"))


def _relation(reader: _Reader) -> Relation:
    oid = reader.number("I")
    schema = reader.text() or "pg_catalog"  # sent as an empty name
    table = reader.text()
    identity = reader.byte()
    columns = tuple(_column(reader) for _ in range(reader.number("h")))
    return Relation(oid, schema, table, identity == "f", columns)


def _column(reader: _Reader) -> RelationColumn:
    identity = bool(reader.number("B") & 1)
    name = reader.text()
    return RelationColumn(name, identity, reader.number("I"), reader.number("i"))


def _row(reader: _Reader, kind: str) -> Row:
    relation = reader.number("I")
    part = reader.byte()
    old: Values | None = None
    new: Values | None = None
    if part in "KO":
        old = reader.values()
        part = reader.byte() if kind == "U" else ""
    if part == "N":
        new = reader.values()
    action = {"I": "INSERT", "U": "UPDATE", "D": "DELETE"}[kind]
    if (new is None) != (action == "DELETE") or (action == "DELETE" and old is None):
        raise UnreadableMessage(f"{action} without its row")
    return Row(relation, action, new, old)


@dataclass(frozen=True, slots=True)
class Changed:
    """A row of a committed transaction, with the table as it was then."""

    relation: Relation
    committed_at: datetime
    row: Row


class Reader:
    """Keeps between messages what later ones lean on: the tables and the running transaction."""

    def __init__(self) -> None:
        self._relations: dict[int, Relation] = {}
        self._committed_at = EPOCH

    def take(self, data: bytes) -> Changed | None:
        """Raises UnreadableMessage; a row of a table never announced is one, too."""
        message = decode(data)
        if isinstance(message, Row):
            if message.relation_oid not in self._relations:
                raise UnreadableMessage("a row of an unknown relation")
            relation = self._relations[message.relation_oid]
            return Changed(relation, self._committed_at, message)
        if isinstance(message, Relation):
            self._relations[message.oid] = message
        elif isinstance(message, Begin):
            self._committed_at = message.committed_at
        return None
