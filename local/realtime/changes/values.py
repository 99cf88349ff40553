"""What is a row of the WAL in JSON, value for value?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from local.realtime.changes.pgoutput import UNCHANGED, Changed, Row, Value, Values
from local.realtime.changes.relations import BYTEA, FLOATS_AND_NUMERIC, ColumnType, Table

MAX_RECORD_BYTES = 1_048_576
NOT_A_NUMBER = frozenset({"NaN", "Infinity", "-Infinity"})
ACTIONS = {"INSERT": "I", "UPDATE": "U", "DELETE": "D"}


@dataclass(frozen=True, slots=True)
class Encoded:
    """
    A changed row, its values as JSON text, one for each column of the relation.

    None is SQL NULL; UNCHANGED means that wal2json has no such column in that part. `columns` is
    the new row, `identity` what tells which row it was. Nobody may see one with an `error`.
    """

    action: str
    committed_at: datetime
    columns: Values | None
    identity: Values | None
    too_large: bool
    error: str | None = None


async def encode(
    connection: asyncpg.Connection, table: Table, changes: Sequence[Changed]
) -> list[Encoded]:
    """
    One query for all of them, which are of `table`.

    Raises asyncpg.PostgresError for a value without a JSON form.
    """
    parts = [p for one in changes for p in (one.row.new, one.row.old) if p is not None]
    texts = [_as_wal2json(table, part) for part in parts]
    encoded = iter(await _to_jsonb(connection, table, texts))
    found = []
    for one in changes:
        row = one.row
        columns = next(encoded) if row.new is not None else None
        old = next(encoded) if row.old is not None else None
        identity = _identity(table, row, columns, old)
        too_large = _is_large(row) and _wal_size(table, row) > MAX_RECORD_BYTES
        found.append(Encoded(row.action, one.committed_at, columns, identity, too_large))
    return found


def _as_wal2json(table: Table, values: Values) -> Values:
    return tuple(map(_plain, values, table.types))


def _plain(value: Value, kind: ColumnType) -> Value:
    if not isinstance(value, str):
        return value
    if kind.oid == BYTEA:
        return value.removeprefix("\\x")
    return None if kind.oid in FLOATS_AND_NUMERIC and value in NOT_A_NUMBER else value


async def _to_jsonb(
    connection: asyncpg.Connection, table: Table, rows: Sequence[Values]
) -> list[Values]:
    if not table.types:
        return [() for _ in rows]
    casts = ", ".join(
        f"to_jsonb(c{at}{'' if kind.oid == BYTEA else f'::{kind.cast}'})::text"
        for at, kind in enumerate(table.types)
    )
    names = ", ".join(f"c{at}" for at in range(len(table.types)))
    arrays = ", ".join(f"${at + 1}::text[]" for at in range(len(table.types)))
    columns = zip(*rows, strict=True)
    found = await connection.fetch(
        f"select {casts} from unnest({arrays}) with ordinality as v ({names}, n) order by n",
        *([value if isinstance(value, str) else None for value in column] for column in columns),
    )
    return [
        tuple(UNCHANGED if was is UNCHANGED else now for was, now in zip(row, texts, strict=True))
        for row, texts in zip(rows, found, strict=True)
    ]


def _identity(table: Table, row: Row, columns: Values | None, old: Values | None) -> Values | None:
    """An UPDATE that leaves its identity alone has it in the new row only."""
    source = old if old is not None else columns
    if row.action == "INSERT" or source is None:
        return None
    marks = (column.identity for column in table.relation.columns)
    return tuple(value if mark else UNCHANGED for value, mark in zip(source, marks, strict=True))


def _is_large(row: Row) -> bool:
    """A cheap upper bound: no character of a value takes more than six bytes in JSON."""
    values = (*(row.new or ()), *(row.old or ()))
    length = sum(len(value) for value in values if isinstance(value, str))
    return 6 * length + 300 * len(values) + 1000 > MAX_RECORD_BYTES


def _wal_size(table: Table, row: Row) -> int:
    """Bytes of the jsonb that wal2json's output becomes; past the limit is error 413."""
    wal: dict[str, object] = {
        "action": ACTIONS[row.action],
        "timestamp": "2000-01-01 00:00:00.000000+00",
        "schema": table.relation.schema,
        "table": table.relation.table,
        "pk": [
            {"name": column.name, "type": kind.shown, "typeoid": kind.oid}
            for column, kind in zip(table.relation.columns, table.types, strict=True)
            if column.name in table.key
        ],
    }
    if row.new is not None:
        wal["columns"] = _wal_values(table, row.new)
    if row.action != "INSERT":
        wal["identity"] = _wal_values(table, _identity(table, row, row.new, row.old) or ())
    return len(json.dumps(wal, ensure_ascii=False).encode())


def _wal_values(table: Table, values: Values) -> list[dict[str, object]]:
    return [
        {"name": column.name, "type": kind.shown, "typeoid": kind.oid, "value": _plain(value, kind)}
        for column, kind, value in zip(table.relation.columns, table.types, values, strict=True)
        if value is not UNCHANGED
    ]
