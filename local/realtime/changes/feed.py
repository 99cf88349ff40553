"""How do committed changes get from the slot to those who subscribed?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import orjson
import structlog

from local.realtime.changes.matching import Deliver, Delivery, Subscription, by_subscriber, match
from local.realtime.changes.messages import is_message, message
from local.realtime.changes.payload import spoiled
from local.realtime.changes.pgoutput import Changed, Reader, Relation
from local.realtime.changes.relations import Table, look_up
from local.realtime.changes.sessions import connected, is_lost
from local.realtime.changes.stream import streaming
from local.realtime.changes.subscribing import check, published
from local.realtime.changes.values import encode
from local.realtime.changes.wanted import Asked, Wanted, read
from local.realtime.outage import ERRORS

log = structlog.get_logger()

# A GRANT to a role that other roles inherit changes nothing of the table: no message tells of it.
CATALOG_AGE = 1.0  # seconds what was read of a table counts as true
PUBLICATION_CHECK = 60.0  # seconds, as in the real server


class ChangeFeed:
    """
    The committed changes of one database, for any number of subscribers.

    `message_inserted` gets each row inserted into realtime.messages, in commit order with the
    changes: texts as PostgreSQL writes them (`payload` is JSON text), `private` a bool,
    `binary_payload` bytes, NULL None.

    A subscription is to the tables published when it was made. Every `publication_check` seconds
    it is looked whether others are; then all subscriptions get what they would get now and
    `publication_changed` is called (the real server makes everybody subscribe again).

    `error` names the error that each row is to have just now, whatever it is; None for none.
    """

    def __init__(
        self,
        admin_url: str,
        *,
        message_inserted: Callable[[Mapping[str, Any]], None],
        publication_changed: Callable[[], None] | None = None,
        publication_check: float = PUBLICATION_CHECK,
        error: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._admin_url = admin_url
        self._message_inserted = message_inserted
        self._publication_changed = publication_changed
        self._publication_check = publication_check
        self._error = error
        self._published: frozenset[int] = frozenset()
        self._subscriptions: dict[Hashable, list[Subscription]] = {}
        self._reader = Reader()
        self._tables: dict[int, tuple[float, Table]] = {}
        self.ready = asyncio.Event()  # what commits from now on is seen

    async def run(self) -> None:
        """
        Stream until cancelled. Raises FeedLost when either connection dies.

        Subscriptions outlive it: run it again. As in the real server, what commits until it is
        ready again is never delivered.
        """
        try:
            async with (
                streaming(self._admin_url) as stream,
                connected(self._admin_url) as connection,
            ):
                self._reader = Reader()
                self._tables.clear()
                self._published = await published(connection)
                checked = self._now()
                self.ready.set()
                async for batch in stream.batches():
                    await self._process(connection, batch)
                    if self._now() - checked >= self._publication_check:
                        await self._follow_publication(connection)
                        checked = self._now()
        finally:
            self.ready.clear()

    async def subscribe(
        self,
        key: Hashable,
        wanted: Sequence[Wanted],
        claims: Mapping[str, Any],
        deliver: Deliver,
    ) -> None:
        """
        All of `wanted` or nothing; what `key` had before is replaced in one step.

        `deliver(ids, data)` is called from the loop, with the `payload.data` object as JSON and the
        ids in the reverse of the order asked. Waits until the feed is ready. Raises FeedLost when
        the database is away, SubscriptionRefused for good; then `key` keeps what it had.
        """
        asked = [read(one) for one in wanted]
        await self.ready.wait()
        async with connected(self._admin_url) as connection:
            agreed = [await check(connection, one, claims) for one in asked]
        role, text = str(claims.get("role")), orjson.dumps(dict(claims)).decode()
        self._subscriptions[key] = [
            Subscription(key, one.id, _in_order(that), tables, role, text, deliver)
            for one, that, tables in zip(wanted, asked, agreed, strict=True)
        ]

    async def unsubscribe(self, key: Hashable) -> None:
        """After this returns nothing is delivered to `key`; an unknown key is no mistake."""
        self._subscriptions.pop(key, None)

    async def _process(self, connection: asyncpg.Connection, batch: Sequence[bytes]) -> None:
        changes = [change for data in batch if (change := self._reader.take(data)) is not None]
        outgoing: list[list[Delivery]] = [[] for _ in changes]
        groups: dict[int, list[int]] = {}
        for at, change in enumerate(changes):
            # A table altered in between has two relations, each with rows of its own.
            groups.setdefault(id(change.relation), []).append(at)
        try:
            for places in groups.values():
                found = await self._deliveries(connection, [changes[at] for at in places])
                for at, deliveries in zip(places, found, strict=True):
                    outgoing[at] = deliveries
        except ERRORS as error:
            if is_lost(connection, error):
                raise
            outgoing = [[] for _ in changes]
            _say_lost(changes, error)
        for change, deliveries in zip(changes, outgoing, strict=True):
            self._hand_over(change, deliveries)

    async def _deliveries(
        self, connection: asyncpg.Connection, changes: Sequence[Changed]
    ) -> list[list[Delivery]]:
        """All of one relation. Nothing is asked of the database when nobody waits for it."""
        relation = changes[0].relation
        waiting = [
            one
            for subscriptions in self._subscriptions.values()
            for one in subscriptions
            if relation.oid in one.tables
        ]
        table = await self._table(connection, relation) if waiting else None
        wanted = [
            at
            for at, change in enumerate(changes)
            if any(one.awaits(change.row.action) for one in waiting)
        ]
        found: list[list[Delivery]] = [[] for _ in changes]
        if table is not None and wanted:
            rows = await encode(connection, table, [changes[at] for at in wanted])
            if (error := self._error()) is not None:
                rows = [spoiled(row, error) for row in rows]
            matches = await match(connection, table, rows, waiting)
            for at, deliveries in zip(wanted, matches, strict=True):
                found[at] = deliveries
        return found

    async def _follow_publication(self, connection: asyncpg.Connection) -> None:
        now = await published(connection)
        if now == self._published:
            return
        for key, subscriptions in list(self._subscriptions.items()):
            tables = [
                await published(connection, one.asked.schema, one.asked.table)
                for one in subscriptions
            ]
            if self._subscriptions.get(key) is subscriptions:  # not renewed meanwhile
                self._subscriptions[key] = [
                    replace(one, tables=those)
                    for one, those in zip(subscriptions, tables, strict=True)
                ]
        self._published = now
        log.info("publication.changed", tables=len(now))
        if self._publication_changed is not None:
            self._publication_changed()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _table(self, connection: asyncpg.Connection, relation: Relation) -> Table | None:
        now = self._now()
        read_at, table = self._tables.get(relation.oid, (now, None))
        if table is None or table.relation is not relation or now - read_at > CATALOG_AGE:
            table = await look_up(connection, relation)
            if table is None:
                log.warning("table.vanished", table=f"{relation.schema}.{relation.table}")
                self._tables.pop(relation.oid, None)
            else:
                self._tables[relation.oid] = (now, table)
        return table

    def _hand_over(self, change: Changed, deliveries: Sequence[Delivery]) -> None:
        if is_message(change):
            self._message_inserted(message(change))
        for delivery in deliveries:
            for deliver, key, ids in by_subscriber(delivery):
                if key in self._subscriptions:  # it may have left while the database was asked
                    deliver(ids, delivery.data)


def _in_order(asked: Asked) -> Asked:
    """The order in which the real server stores them; it decides the order of messages."""
    select = None if asked.select is None else tuple(sorted(asked.select))
    return replace(asked, filters=tuple(sorted(asked.filters)), select=select)


def _say_lost(changes: Sequence[Changed], error: Exception) -> None:
    """The real server would drop its slot here, and lose even more without a word."""
    log.error(
        "changes.lost",
        sqlstate=getattr(error, "sqlstate", None),
        tables=sorted({f"{one.relation.schema}.{one.relation.table}" for one in changes}),
        changes=len(changes),
    )
