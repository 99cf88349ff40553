"""Who gets which row? Asked of the database for a whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import asyncpg

from local.realtime.changes.filters import Filter
from local.realtime.changes.payload import Select, View, payload, refusal, refused, view
from local.realtime.changes.pgoutput import UNCHANGED, Values
from local.realtime.changes.relations import Table
from local.realtime.changes.values import Encoded
from local.realtime.changes.wanted import Asked

Deliver = Callable[[list[int], bytes], None]

INFIX = {
    "eq": "=", "neq": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=",
    "like": "like", "ilike": "ilike", "match": "~", "imatch": "~*",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """
    One binding of one subscriber.

    `tables` are those that were published when it subscribed; `claims` is JSON text.
    """

    key: Hashable
    id: int
    asked: Asked
    tables: frozenset[int]
    role: str
    claims: str
    deliver: Deliver

    def awaits(self, action: str) -> bool:
        return self.asked.event in ("*", action)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message: the change as a role sees it, for those of its subscriptions that match."""

    data: bytes
    subscriptions: Sequence[Subscription]


async def match(
    connection: asyncpg.Connection,
    table: Table,
    rows: Sequence[Encoded],
    subscriptions: Sequence[Subscription],
) -> list[list[Delivery]]:
    """
    For each row its messages: by role, and within it by selected columns.

    Raises asyncpg.PostgresError when a filter or a policy fails on a value.
    """
    found: list[list[Delivery]] = [[] for _ in rows]
    for role in sorted({subscription.role for subscription in subscriptions}):
        members = [one for one in subscriptions if one.role == role]
        readable = await table.readable_by(connection, role)
        errors = [refused(table, row, readable) for row in rows]
        allowed = [row if error is None else None for row, error in zip(rows, errors, strict=True)]
        passed = await _passed(connection, table, allowed, members)
        if table.secured:
            passed = await _visible(connection, table, allowed, passed)
        for select in sorted({one.asked.select for one in members}, key=_order):
            group = [one for one in members if one.asked.select == select]
            sees = view(table, readable, select)
            for at, (row, error) in enumerate(zip(rows, errors, strict=True)):
                # Nobody's filters apply to a row that nobody gets to see.
                awaiting = [
                    one
                    for one in group
                    if one.awaits(row.action) and (error is not None or passed[one][at])
                ]
                if awaiting:
                    data = _data(table, row, sees, error)
                    found[at].append(Delivery(data, awaiting))
    return found


def _data(table: Table, row: Encoded, sees: View, error: str | None) -> bytes:
    return payload(sees, row, table.secured) if error is None else refusal(table, row, error)


def _order(select: Select) -> str:
    return ",".join(select or ())


Passed = dict[Subscription, list[bool]]


async def _passed(
    connection: asyncpg.Connection,
    table: Table,
    rows: Sequence[Encoded | None],
    subscriptions: Sequence[Subscription],
) -> Passed:
    """Which rows meet the filters of each subscription; equal filters are asked once."""
    known: dict[tuple[Filter, ...], list[bool]] = {(): [row is not None for row in rows]}
    for filters in {one.asked.filters for one in subscriptions} - {()}:
        actions = {one.asked.event for one in subscriptions if one.asked.filters == filters}
        asked = [
            row if row is not None and ("*" in actions or row.action in actions) else None
            for row in rows
        ]
        known[filters] = await _meet(connection, table, asked, filters)
    return {one: known[one.asked.filters] for one in subscriptions}


async def _meet(
    connection: asyncpg.Connection,
    table: Table,
    rows: Sequence[Encoded | None],
    filters: Sequence[Filter],
) -> list[bool]:
    places = {column.name: at for at, column in enumerate(table.relation.columns)}
    met = [False] * len(rows)
    if not all(one.column in places for one in filters):
        return met  # the column is gone
    columns = [places[one.column] for one in filters]
    asked: list[tuple[int, list[str | None]]] = []
    for at, row in enumerate(rows):
        # The new row; for a DELETE what the identity holds.
        values = row and (row.columns or row.identity)
        if values and all(values[column] is not UNCHANGED for column in columns):
            asked.append((at, [_text(values, column) for column in columns]))
    if not asked:
        return met
    conditions = ", ".join(
        _condition(one, f"(v{n}::jsonb #>> '{{}}')", f"${n + 1}::text", table.types[column].cast)
        for n, (one, column) in enumerate(zip(filters, columns, strict=True))
    )
    found = await connection.fetch(
        f"select {conditions} from {_arrays(len(filters), len(filters))} order by n",
        *(one.value for one in filters),
        *zip(*(values for _, values in asked), strict=True),
    )
    for (at, _), answers in zip(asked, found, strict=True):
        met[at] = all(answers)  # null counts as no, negated or not
    return met


def _condition(wanted: Filter, left: str, right: str, kind: str) -> str:
    """`left` and `right` are texts; both are cast to the column's type and compared there."""
    value, no = f"{left}::{kind}", "not " if wanted.negated else ""
    if wanted.operator == "is":
        # Checked when subscribing to be a keyword. The cast keeps the parameter in the statement.
        return f"{value} is {no}{wanted.value} and {right} is not null"
    if wanted.operator == "isdistinct":
        return f"{value} is {'not ' if wanted.negated else ''}distinct from {right}::{kind}"
    if wanted.operator == "in":
        return f"{no}({value} = any ({right}::{kind}[]))"
    return f"{no}({value} {INFIX[wanted.operator]} ({right}::{kind}))"


async def _visible(
    connection: asyncpg.Connection,
    table: Table,
    rows: Sequence[Encoded | None],
    passed: Passed,
) -> Passed:
    """
    Of the rows that passed, those that row-level security shows to each subscription now.

    The row is looked for by its key in the table as it is at this moment: a row that is gone or
    has another key by now is not seen. A DELETE cannot be checked and is seen by all.
    """
    seen: Passed = {}
    for claims in {one.claims for one in passed}:
        members = [one for one in passed if one.claims == claims]
        role = members[0].role
        asked = [
            at
            for at, row in enumerate(rows)
            if row is not None
            and row.columns is not None
            and any(one.awaits(row.action) and passed[one][at] for one in members)
        ]
        candidates = [row for at in asked if (row := rows[at]) is not None]
        exists = await _exists(connection, table, candidates, role, claims)
        hidden = {at for at, found in zip(asked, exists, strict=True) if not found}
        for one in members:
            seen[one] = [yes and at not in hidden for at, yes in enumerate(passed[one])]
    return seen


async def _exists(
    connection: asyncpg.Connection,
    table: Table,
    rows: Sequence[Encoded],
    role: str,
    claims: str,
) -> list[bool]:
    """A key column that the WAL leaves out (unchanged TOAST) is not compared."""
    keys = [at for at, c in enumerate(table.relation.columns) if c.name in table.key]
    known: dict[tuple[int, ...], list[int]] = {}
    for n, row in enumerate(rows):
        values = row.columns or ()
        known.setdefault(tuple(at for at in keys if values[at] is not UNCHANGED), []).append(n)
    seen = [False] * len(rows)
    for places, asked in known.items():
        async with connection.transaction():
            await connection.execute(
                "select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)",
                role,
                claims,
            )
            texts = [[_text(rows[n].columns or (), at) for at in places] for n in asked]
            found = await connection.fetch(_lookup(table, places), *zip(*texts, strict=True))
        for n, answer in zip(asked, found, strict=True):
            seen[n] = answer["seen"]
    return seen


def _lookup(table: Table, places: Sequence[int]) -> str:
    """For each key: is there such a row, for the role that asks?"""
    columns = table.relation.columns
    same = " and ".join(
        f"t.{_quoted(columns[at].name)} = (v{n}::jsonb #>> '{{}}')::{table.types[at].cast}"
        for n, at in enumerate(places)
    )
    return (
        f"select exists (select from {table.name} t where {same}) as seen "
        f"from {_arrays(len(places), 0)} order by n"
    )


def _text(values: Values, at: int) -> str | None:
    value = values[at]
    return value if isinstance(value, str) else None


def _arrays(count: int, after: int) -> str:
    """`unnest` of `count` arrays, whose parameters come `after` so many others."""
    arrays = ", ".join(f"${after + n + 1}::text[]" for n in range(count))
    names = ", ".join(f"v{n}" for n in range(count))
    return f"unnest({arrays}) with ordinality as keys ({names}, n)"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def by_subscriber(delivery: Delivery) -> Iterator[tuple[Deliver, Hashable, list[int]]]:
    """Each subscriber gets one message with its matching ids, the last one asked for first."""
    ids: dict[Hashable, list[int]] = {}
    delivers: dict[Hashable, Deliver] = {}
    for one in delivery.subscriptions:
        ids.setdefault(one.key, []).insert(0, one.id)
        delivers[one.key] = one.deliver
    for key, deliver in delivers.items():
        yield deliver, key, ids[key]
