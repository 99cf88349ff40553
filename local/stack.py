"""How do PostgreSQL and Realtime come up together, and where are they then?"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from local import tokens
from local.database import prepare
from local.place import new_file
from local.postgres import SUPERUSER, Cluster
from local.realtime.server import LOOPBACK, Server, serving
from local.realtime.settings import Settings

POSTGRES_CHECK = 0.5  # seconds
NAMELESS = "realtime.invalid"  # RFC 2606: it never resolves
KEY_LIFETIME = 10 * 365 * 86_400.0  # seconds, as a project's service key


@dataclass(frozen=True, slots=True)
class Keys:
    """What stays the same between runs. `port` is the one that Realtime listened on last."""

    jwt_secret: str
    supabase_key: str  # of the role service_role
    port: int = 0

    @classmethod
    def fresh(cls) -> Keys:
        secret = secrets.token_urlsafe(40)
        return cls(secret, tokens.issue(secret, "service_role", lifetime=KEY_LIFETIME))


@dataclass(frozen=True, slots=True)
class Stack:
    """A running PostgreSQL with a running Realtime. `database_url` is of no superuser."""

    supabase_url: str
    supabase_key: str
    database_url: str
    jwt_secret: str
    admin_url: str
    server: Server
    cluster: Cluster

    async def until(self, stopping: asyncio.Event) -> None:
        """
        Return when it is set. Raises PostgresError when PostgreSQL is gone.

        Nothing starts it again: whoever killed it wants to see what that does, and a data
        directory that lost its server is better looked at by somebody.
        """
        while not stopping.is_set():
            self.cluster.check()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POSTGRES_CHECK):
                    await stopping.wait()

    @property
    def env(self) -> dict[str, str]:
        """The four settings by which a client finds its way, but for the fault `dns`."""
        url = self.supabase_url
        return {
            "SUPABASE_URL": url.replace(LOOPBACK, NAMELESS) if self.server.faults.dns else url,
            "SUPABASE_KEY": self.supabase_key,
            "DATABASE_URL": self.database_url,
            "SUPABASE_JWT_SECRET": self.jwt_secret,
        }


@contextlib.asynccontextmanager
async def running(
    data: Path | None = None, settings: Settings | None = None
) -> AsyncIterator[Stack]:
    """
    Start PostgreSQL, prepare it, start Realtime; stop them in the opposite order.

    With `data` the rows, the keys and (where they are still free) the ports stay the same from
    run to run; without it nothing is left. PostgreSQL blocks the event loop while it starts and
    stops, about a second. Raises PostgresError, OSError.
    """
    with Cluster.running(data / "postgres" if data else None, durable=data is not None) as cluster:
        admin_url = cluster.url(role=SUPERUSER)
        await prepare(admin_url)
        keys = _kept(data) if data else Keys.fresh()
        async with _serving(admin_url, keys, settings) as server:
            if data:
                _keep(data, replace(keys, port=int(server.url.rpartition(":")[2])))
            yield Stack(
                server.url,
                keys.supabase_key,
                cluster.url(),
                keys.jwt_secret,
                admin_url,
                server,
                cluster,
            )


@contextlib.asynccontextmanager
async def _serving(admin_url: str, keys: Keys, settings: Settings | None) -> AsyncIterator[Server]:
    """Serve on the port of the last run unless somebody else has it by now."""
    async with contextlib.AsyncExitStack() as started:
        try:
            server = await started.enter_async_context(
                serving(
                    admin_url=admin_url,
                    jwt_secret=keys.jwt_secret,
                    settings=settings,
                    port=keys.port,
                )
            )
        except OSError:
            if keys.port == 0:
                raise
            server = await started.enter_async_context(
                serving(admin_url=admin_url, jwt_secret=keys.jwt_secret, settings=settings)
            )
        yield server


def _kept(data: Path) -> Keys:
    with contextlib.suppress(FileNotFoundError):
        return Keys(**json.loads((data / "keys.json").read_text()))
    return Keys.fresh()


def _keep(data: Path, keys: Keys) -> None:
    with os.fdopen(new_file(data / "keys.json"), "w") as file:
        json.dump(asdict(keys), file)
