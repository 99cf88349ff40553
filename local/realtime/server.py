"""What listens on the port, and how does it start and stop?"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import asyncpg
import structlog
from aiohttp import web

from local.realtime import accounts, control, handshake, rest, rpc
from local.realtime.broadcast import tell_stored
from local.realtime.changes import ChangeFeed, FeedLost
from local.realtime.outage import ERRORS
from local.realtime.settings import Settings
from local.realtime.tenant import Connected, Tenant
from worker.backoff import waits

log = structlog.get_logger()

LOOPBACK = "127.0.0.1"  # nowhere else: whoever has the key may break the server
CONNECT_TIMEOUT = 15.0  # seconds; a join that needs the database may hang so long
PARTITIONS_EVERY = 3600.0  # seconds; they are made three days ahead


class Server(Tenant):
    """The project, served. `url` is what a client calls SUPABASE_URL."""

    def __init__(
        self, admin_url: str, jwt_secret: str, settings: Settings, pool: asyncpg.Pool
    ) -> None:
        super().__init__(jwt_secret, settings, pool)
        self.url = ""
        self.feed = ChangeFeed(
            admin_url,
            message_inserted=lambda row: tell_stored(self, row),
            publication_changed=self._subscribe_all,
            publication_check=settings.publication_check,
            error=lambda: self.faults.change_error,
        )

    def hang_up(self, code: int | None) -> list[Connected]:
        """Close every connection with this code, or reset them (None); return which they are."""
        leaving = list(self.connections)
        for connection in leaving:
            connection.hang_up(code)
        return leaving

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Follow the database while the caller does something else."""
        failed: Exception | None = None
        async with asyncio.TaskGroup() as self._tasks:
            standing = [
                self._tasks.create_task(self._follow_changes()),
                self._tasks.create_task(self._keep_partitions()),
                self._tasks.create_task(self._tick()),
            ]
            try:
                yield
            except Exception as error:
                failed = error  # the group would wrap the caller's own error into one of groups
            finally:
                await self._part()
                for task in standing:
                    task.cancel()
        if failed is not None:
            raise failed

    async def _part(self) -> None:
        """Close every connection as a restarting server does; cut those that do not listen."""
        leaving = self.hang_up(1012)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.close_timeout + 1.0):
                for connection in leaving:
                    await connection.closed.wait()
        for connection in list(self.connections):
            connection.cut()

    async def _follow_changes(self) -> None:
        """
        Keep the replication connection; when it is lost, joined channels are told nothing.

        Once it is back they are subscribed again, and only then hear of it.
        """
        pauses = waits(first=0.1, cap=5.0)
        while True:
            began = time.monotonic()
            again = self._tasks.create_task(self._subscribe_again())
            try:
                await self.feed.run()
            except FeedLost:
                log.warning("change_feed.interrupted")
            finally:
                again.cancel()
            if time.monotonic() - began > 10.0:
                pauses = waits(first=0.1, cap=5.0)
            await asyncio.sleep(next(pauses))

    async def _subscribe_again(self) -> None:
        await self.feed.ready.wait()
        self._subscribe_all()

    def _subscribe_all(self) -> None:
        for subscriber in list(self.subscribers):
            if not subscriber.lost:
                subscriber.subscribe()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self.settings.limits.tick)
            self.rates.tick()

    async def _keep_partitions(self) -> None:
        while True:
            try:
                await self.pool.execute("select realtime.keep_message_partitions()")
            except ERRORS as error:
                log.warning("message_partitions.failed", reason=type(error).__name__)
            await asyncio.sleep(PARTITIONS_EVERY)


@contextlib.asynccontextmanager
async def serving(
    *,
    admin_url: str,
    jwt_secret: str,
    settings: Settings | None = None,
    port: int = 0,
) -> AsyncIterator[Server]:
    """
    Serve Realtime, and the little of Auth and REST its clients need, until the block is left.

    `admin_url` is a superuser's, of a database that `local.database.prepare` has seen. Port 0 is
    any free one. Raises OSError where the port is taken. Where the database is away it serves all
    the same, as the real one: private joins are refused, changes wait.
    """
    async with asyncpg.create_pool(
        admin_url, ssl="disable", min_size=0, max_size=10, timeout=CONNECT_TIMEOUT
    ) as pool:
        server = Server(admin_url, jwt_secret, settings or Settings(), pool)
        runner = web.AppRunner(_app(server), access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        try:
            async with server.working():
                site = web.TCPSite(runner, LOOPBACK, port)
                await site.start()
                server.url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
                yield server
        finally:
            await runner.cleanup()


def _app(server: Server) -> web.Application:
    app = web.Application(client_max_size=server.settings.max_payload * 2)
    app.add_routes([*handshake.routes(server), *rest.routes(server)])
    app.add_routes([*accounts.routes(server), *rpc.routes(server), *control.routes(server)])
    return app
