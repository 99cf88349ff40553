"""What does a subscriber get to read of a changed row?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from local.realtime.changes.pgoutput import UNCHANGED, Values
from local.realtime.changes.relations import Table
from local.realtime.changes.values import Encoded

NO_KEY = "Error 400: Bad Request, no primary key"
UNAUTHORIZED = "Error 401: Unauthorized"
TOO_LARGE = "Error 413: Payload Too Large"
KEPT_WHEN_TOO_LARGE = 64  # bytes of JSON text

Select = tuple[str, ...] | None
Place = tuple[int, str]  # position of a column in the relation, `"its name":`


def spoiled(row: Encoded, error: str) -> Encoded:
    """The row as if it were too large, or as if that error forbade it to everybody."""
    return replace(row, too_large=True) if error == TOO_LARGE else replace(row, error=error)


@dataclass(frozen=True, slots=True)
class View:
    """What a role sees of a table with a column selection: prepared once, used for each row."""

    head: str
    columns: str
    record: tuple[Place, ...]  # in the order of jsonb: shorter names first, then by bytes
    key: tuple[Place, ...]


def view(table: Table, readable: frozenset[str], select: Select) -> View:
    def seen(name: str) -> bool:
        return name in readable and (select is None or name in select or name in table.key)

    relation = table.relation
    names = sorted(
        ((at, c.name) for at, c in enumerate(relation.columns) if seen(c.name)),
        key=lambda found: (len(found[1].encode()), found[1].encode()),
    )
    shown = [{"name": name, "type": kind} for name, kind in table.columns if seen(name)]
    return View(
        head=_members({"schema": relation.schema, "table": relation.table}),
        columns=_json(shown),
        record=tuple((at, _json(name) + ":") for at, name in names),
        key=tuple((at, _json(name) + ":") for at, name in names if name in table.key),
    )


def refused(table: Table, row: Encoded, readable: frozenset[str]) -> str | None:
    """Why nobody of a role gets the row itself; a DELETE is never refused."""
    if row.columns is None:
        return None
    if row.error is not None:
        return row.error
    keys = [
        column.name
        for column, value in zip(table.relation.columns, row.columns, strict=True)
        if column.name in table.key and value is not UNCHANGED
    ]
    if not keys:
        return NO_KEY
    return None if readable.issuperset(keys) else UNAUTHORIZED


def refusal(table: Table, row: Encoded, error: str) -> bytes:
    """The change without its row; it does not even say when."""
    relation = table.relation
    nothing: dict[str, object] = {"commit_timestamp": None, "columns": [], "record": {}}
    nothing["errors"] = [error]
    if row.action == "UPDATE":
        nothing["old_record"] = {}
    named = {"schema": relation.schema, "table": relation.table, "type": row.action}
    return _json(named | nothing).encode()


def payload(view: View, row: Encoded, secured: bool) -> bytes:
    """The `data` of a `postgres_changes` message, numbers as PostgreSQL wrote them."""
    parts = [view.head, f'"type":"{row.action}"', f'"columns":{view.columns}']
    parts.append(f'"commit_timestamp":"{timestamp(row.committed_at)}"')
    parts.append(f'"errors":{_json([TOO_LARGE])}' if row.too_large else '"errors":null')
    if row.columns is not None:
        # An unchanged TOAST value is known where the identity is the whole row.
        whole = row.columns if row.identity is None else _filled(row.columns, row.identity)
        # Its size is judged by the new row alone, so that it goes when the record is too large.
        judged = row.columns if row.too_large else whole
        parts.append(f'"record":{_object(view.record, whole, judged, row.too_large)}')
    if row.identity is not None:
        # With row-level security nobody can say who might see a row that is gone: key only.
        places = view.key if secured and row.action == "DELETE" else view.record
        parts.append(f'"old_record":{_object(places, row.identity, row.identity, row.too_large)}')
    return ("{" + ",".join(parts) + "}").encode()


def timestamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _filled(columns: Values, identity: Values) -> Values:
    return tuple(
        old if new is UNCHANGED else new for new, old in zip(columns, identity, strict=True)
    )


def _object(places: Sequence[Place], values: Values, judged: Values, too_large: bool) -> str:
    members = []
    for at, name in places:
        value, size = values[at], judged[at]
        if too_large and not (isinstance(size, str) and len(size.encode()) <= KEPT_WHEN_TOO_LARGE):
            continue
        if value is not UNCHANGED:
            members.append(name + ("null" if value is None else value))
    return "{" + ",".join(members) + "}"


def _members(values: dict[str, str]) -> str:
    return _json(values)[1:-1]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
