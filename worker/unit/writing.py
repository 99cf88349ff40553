"""Which statements write the effects of many events at once?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import orjson

from ..db import Connection
from ..effects import DeadLetter
from ..event import plain
from . import blame
from .pieces import Piece

Handled: TypeAlias = frozenset[UUID]

# `order by` decides in which order the identity column `seq` is drawn.
AUDIT = """
insert into public.audit_logs (event_id, table_schema, table_name, record_id, record_key,
                               action, old_data, new_data, committed_at)
select event_id, table_schema, table_name, record_id, record_key,
       action, old_data, new_data, committed_at
from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::jsonb[],
            $6::text[], $7::jsonb[], $8::jsonb[], $9::timestamptz[])
     with ordinality as asked (event_id, table_schema, table_name, record_id, record_key,
                               action, old_data, new_data, committed_at, place)
order by place
on conflict (event_id) do nothing
returning event_id
"""

HANDLED = "select event_id from public.audit_logs where event_id = any($1::uuid[])"

OUTBOX = """
insert into tidemark.outbox (id, audience, recipient, kind, data)
select id, audience, recipient, kind, data
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::jsonb[])
     with ordinality as asked (id, audience, recipient, kind, data, place)
order by place
on conflict (id) do nothing
"""

# In the order of their key: two workers that add to the same counters must not deadlock.
COUNTERS = """
insert into tidemark.counters as counter (name, labels, value)
select name, labels, value
from unnest($1::text[], $2::jsonb[], $3::bigint[]) as asked (name, labels, value)
order by name, labels
on conflict (name, labels) do update set value = counter.value + excluded.value
"""

DEAD_LETTERS = """
insert into tidemark.dead_letters (event_id, handler, lane, event, reason, attempts)
select event_id, handler, $6, event, reason, attempts
from unnest($1::uuid[], $2::text[], $3::jsonb[], $4::text[], $5::int[])
     as given (event_id, handler, event, reason, attempts)
on conflict (event_id, handler) do nothing
"""


async def already_handled(connection: Connection, pieces: Sequence[Piece]) -> Handled:
    """Return which of these events have an audit row: all their effects were committed with it."""
    rows = await connection.fetch(HANDLED, [row[0] for piece in pieces for row in piece.audits])
    return frozenset(row["event_id"] for row in rows)


async def write(
    connection: Connection, pieces: Sequence[Piece], handled: Handled | None = None
) -> None:
    """
    Write these pieces, one statement for each kind of effect, then the handlers' statements.

    What could be applied twice, counters and statements, is left out for events that were
    `handled` in an earlier transaction: one whose commit took place though its answer was lost.
    Without `handled` the audit rows that are found there already tell which.
    Raises Guilty when one of the pieces cannot be written, and what asyncpg raises else.
    """
    try:
        found = await _write_audits(connection, pieces)
        if handled is None:
            handled = found
        notices = [row for piece in pieces for row in piece.notices]
        if notices:
            await connection.execute(OUTBOX, *zip(*notices, strict=True))
        new = [piece for piece in pieces if piece.effects.event.id not in handled]
        await _add_to_counters(connection, new)
    except asyncpg.PostgresError as error:
        if blame.of_ours(error):
            raise blame.Guilty from error
        raise
    await _run_statements(connection, new)


async def write_dead(
    connection: Connection, dead: Sequence[DeadLetter], lane: str, hide: Callable[[Any], Any]
) -> None:
    """Keep what was given up. The second time the same is given up changes nothing."""
    rows = [
        (
            letter.event.id,
            letter.handler,
            _event(hide(plain(letter.event))),
            _text(letter.reason),
            letter.attempts,
        )
        for letter in dead
    ]
    await connection.execute(DEAD_LETTERS, *zip(*rows, strict=True), lane)


async def _write_audits(connection: Connection, pieces: Sequence[Piece]) -> Handled:
    """Write the audit rows; return the events that had theirs before."""
    audits = [row for piece in pieces for row in piece.audits]
    if not audits:
        return frozenset()
    written = await connection.fetch(AUDIT, *zip(*audits, strict=True))
    return frozenset(row[0] for row in audits) - {row["event_id"] for row in written}


async def _add_to_counters(connection: Connection, pieces: Sequence[Piece]) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for piece in pieces:
        for name, labels, by in piece.counts:
            counts[name, labels] += by
    if counts:
        rows = [(*key, by) for key, by in counts.items()]
        await connection.execute(COUNTERS, *zip(*rows, strict=True))


async def _run_statements(connection: Connection, pieces: Sequence[Piece]) -> None:
    statements = [statement for piece in pieces for statement in piece.statements]
    if not statements:
        return
    try:
        for sql, group in groupby(statements, key=lambda statement: statement.sql):
            await connection.executemany(sql, [statement.args for statement in group])
        # What is deferred to the commit could not be blamed on anybody there.
        await connection.execute("set constraints all immediate")
    except blame.Failed as error:
        if not connection.is_closed() and blame.of_handlers(error):
            raise blame.Guilty from error
        raise


def _event(event: Any) -> str:
    # jsonb refuses NUL, and that may be why the event was given up.
    return orjson.dumps(event).decode().replace("\\u0000", "\\ufffd")


def _text(words: str) -> str:
    # Nor does text take it, and half a surrogate pair cannot even be sent.
    sendable = words.encode("utf-8", "replace").decode()
    return sendable.replace("\0", "\N{REPLACEMENT CHARACTER}")
