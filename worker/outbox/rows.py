"""Which notifications are due, and what became of them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy

from ..effects import Notice
from ..errors import DatabaseAway

# The claim ends by itself: whoever claims and dies has only delayed it.
CLAIM = """
with due as (
    select id from tidemark.outbox
    where sent_at is null and next_at <= now()
    order by next_at, seq
    limit $1
    for update skip locked
)
update tidemark.outbox as outbox
set attempts = attempts + 1, next_at = now() + make_interval(secs => $2)
from due where outbox.id = due.id
returning outbox.id, seq, audience, recipient, kind, data, sent_by, attempts
"""

SETTLE = """
update tidemark.outbox as outbox
set sent_by = given.sent_by,
    sent_at = case when given.again is null then now() end,
    next_at = now() + make_interval(secs => coalesce(given.again, 0)),
    last_error = given.error
from jsonb_to_recordset($1::jsonb)
     as given (id uuid, sent_by text[], again double precision, error text)
where outbox.id = given.id
"""

WAITING = """
select count(*) as waiting,
       extract(epoch from min(next_at) - now())::double precision as next_in
from tidemark.outbox where sent_at is null
"""

PRUNE = """
delete from tidemark.outbox where id in (
    select id from tidemark.outbox
    where sent_at < now() - make_interval(secs => $1)
    limit $2 for update skip locked
)
"""


class Connections(Protocol):
    """What of a database is needed here; `worker.db.Database` is one."""

    def connection(self) -> AbstractAsyncContextManager[PoolConnectionProxy[asyncpg.Record]]: ...


@dataclass(frozen=True, slots=True)
class Claimed:
    """A notification that is ours to send for a while; `sent_by` are the sinks that have it."""

    notice: Notice
    sent_by: frozenset[str]
    attempts: int


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of it: `again` seconds from now where a sink has not taken it."""

    claimed: Claimed
    sent_by: frozenset[str]
    again: float | None = None
    error: str | None = None  # the class of the last error


class Outbox:
    """
    The table `tidemark.outbox`, as delivery needs it.

    Every method raises DatabaseAway, also where the table is not there yet.
    """

    def __init__(self, database: Connections) -> None:
        self._database = database

    async def claim(self, limit: int, lease: float) -> list[Claimed]:
        """Take up to `limit` that are due, in order, for `lease` seconds."""
        rows = await self._fetch(CLAIM, limit, lease)
        return [
            Claimed(
                Notice(
                    row["id"],
                    row["audience"],
                    row["recipient"],
                    row["kind"],
                    orjson.loads(row["data"]),
                ),
                frozenset(row["sent_by"]),
                row["attempts"],
            )
            for row in sorted(rows, key=lambda row: int(row["seq"]))
        ]

    async def settle(self, settled: Sequence[Settled]) -> None:
        """Write down what became of what was claimed."""
        rows: list[Mapping[str, object]] = [
            {
                "id": str(one.claimed.notice.id),
                "sent_by": sorted(one.sent_by),
                "again": one.again,
                "error": one.error,
            }
            for one in settled
        ]
        await self._fetch(SETTLE, orjson.dumps(rows).decode())

    async def waiting(self) -> tuple[int, float | None]:
        """How many are not delivered, and in how many seconds the next is due."""
        (row,) = await self._fetch(WAITING)
        return row["waiting"], row["next_in"]

    async def prune(self, older_than: float, limit: int = 5000) -> None:
        """Forget up to `limit` that were delivered more than that many seconds ago."""
        await self._fetch(PRUNE, older_than, limit)

    async def _fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        try:
            async with self._database.connection() as connection:
                return await connection.fetch(query, *args)
        except asyncpg.PostgresError as error:
            name = type(error).__name__
            raise DatabaseAway(f"the outbox refuses: {name} {error.sqlstate}") from error
