"""Which parts make up the worker, and what is each given?"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Never
from uuid import uuid4

from ..auth import Account, SignedIn
from ..cache import find
from ..db import Database, migrate
from ..db.beats import Row
from ..errors import CommandFailed
from ..lanes.live import LiveLane
from ..ops.health import Health, Missing, nothing_missing
from ..ops.pages import listening, serve
from ..outbox import Options, deliver, opened
from ..realtime.canaries.beating import Beats
from ..realtime.link import Link
from ..routing import Routes
from ..settings import Settings
from ..unit import UnitOfWork


@dataclass(frozen=True, slots=True)
class Outbox:
    """What takes notifications to the sinks, and what wakes it."""

    database: Database
    sinks: tuple[str, ...]
    options: Options
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> Never:
        """Open the sinks and deliver to them until cancelled."""
        async with opened(self.sinks, self.options) as sinks:
            await deliver(self.database, sinks, self.woken, self.turn)

    async def rest(self, patience: float) -> None:
        """
        Claim no more, and give what was claimed `patience` seconds to be sent.

        What is claimed and not settled waits for the end of its claim, however soon a worker
        starts again, and goes out a second time.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self.turn.acquire()


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one worker, put together and not yet running."""

    database: Database
    lane: LiveLane
    link: Link
    outbox: Outbox
    health: Health
    taken: socket.socket | None  # the port of the pages
    summary: dict[str, Any] = field(default_factory=dict)

    def coroutines(self) -> dict[str, Awaitable[object]]:
        """What runs at the same time, by name; none of them ends by itself."""
        parts: dict[str, Awaitable[object]] = {
            "realtime": self.link.run(),
            "lane": self.lane.run(),
            "outbox": self.outbox.run(),
            "database-watch": self.health.watch_database(),
            "readiness-watch": self.health.watch_readiness(),
        }
        if self.taken is not None:
            parts["pages"] = serve(self.health, self.taken)
        return parts


def assemble(settings: Settings, routes: Routes) -> Parts:
    """
    Put the parts together; nothing is connected yet.

    Raises ConfigError for what only a part can know to be wrong, CommandFailed when the port
    of the pages is taken.
    """
    url, key = settings.secret("supabase_url"), settings.secret("supabase_key")
    user = signed_in(settings)
    hidden = frozenset(settings.hidden_columns)
    database = open_database(settings)
    caches = find(settings.handlers, settings.records)
    user_token = None if user is None else lambda: user.token
    outbox = Outbox(database, settings.sinks, Options(url, key, user_token))
    unit = UnitOfWork(database, caches, hidden_columns=hidden, committed=outbox.woken.set)
    lane = LiveLane(
        routes,
        unit.commit,
        caches,
        inbox_size=settings.inbox_size,
        batch_size=settings.batch_size,
    )
    subscriptions = routes.wanted()
    link = Link(
        url=url,
        key=key,
        subscriptions=subscriptions,
        listener=lane,
        hidden_columns=hidden,
        credentials=user,
        heartbeat=settings.heartbeat_seconds,
        beats=_beats(settings, database),
    )
    taken = None if settings.port is None else listening(settings.host, settings.port)
    summary = {
        "handlers": len({route.handler_name for route in routes.all}),
        "channels": len(subscriptions),
        "tables": sorted(routes.tables),
        "port": taken and taken.getsockname()[1],
    }
    health = Health(link, database, _missing(settings, database), lane=lane)
    return Parts(database, lane, link, outbox, health, taken, summary)


def signed_in(settings: Settings) -> SignedIn | None:
    """The user whose token joins carry; None where nobody signs in."""
    if settings.supabase_user_email is None:
        return None
    return SignedIn(
        Account(
            url=settings.secret("supabase_url"),
            key=settings.secret("supabase_key"),
            email=settings.supabase_user_email,
            password=settings.secret("supabase_user_password"),
        )
    )


def _beats(settings: Settings, database: Database) -> Beats | None:
    """What has to come back through Realtime, under a name that no other process has."""
    if not settings.canary_seconds or not settings.canaries:
        return None
    return Beats(
        row=Row(database, uuid4().hex),
        every=settings.canary_seconds,
        patience=settings.canary_patience_seconds,
        kinds=settings.canaries,
    )


def _missing(settings: Settings, database: Database) -> Missing:
    """Ask which migrations of our folder the database lacks; where there is no folder, none."""
    try:
        names = migrate.names(settings.migrations or migrate.default_directory())
    except CommandFailed:
        return nothing_missing
    return partial(migrate.missing, database, names)


def open_database(settings: Settings) -> Database:
    """The database that the settings name; connected when first used."""
    return Database(
        settings.secret("database_url"),
        size=settings.db_pool_size,
        connect_timeout=settings.db_connection_timeout / 1000,
        idle_timeout=settings.db_idle_timeout / 1000,
        query_timeout=settings.db_query_timeout / 1000,
        max_retries=settings.db_max_retries,
    )
