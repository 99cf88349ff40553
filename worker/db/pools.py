"""Who gets a connection, and what if there is none?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TypeAlias, TypeVar

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy
from asyncpg.transaction import Transaction

from .. import backoff
from ..errors import DatabaseAway
from . import outage, url

log = structlog.get_logger()
T = TypeVar("T")
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

# To undo and to hand back ask the server something too: a hung one must not hold us up.
TIDY_SECONDS = 1.0

_bound: ContextVar[Database] = ContextVar("database")


class Database:
    """
    A pool of connections to one database, opened when the first is asked for.

    `address` is a connection string (ValueError where it is none). Times are seconds.
    `query_timeout` is how long a statement may go without an answer: a server that hangs
    while its kernel still answers is noticed by nothing else.
    """

    def __init__(
        self,
        address: str,
        *,
        size: int = 10,
        connect_timeout: float = 10.0,
        idle_timeout: float = 30.0,
        query_timeout: float = 30.0,
        max_retries: int = 3,
    ) -> None:
        self.address = url.parse(address)
        self.connect_timeout = min(connect_timeout, self.address.connect_timeout or connect_timeout)
        self._size = size
        self._idle_timeout = idle_timeout
        self._query_timeout = query_timeout
        self._max_retries = max_retries
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection. Raises DatabaseAway when there is none or it breaks in use."""
        connection = await self._acquire()
        try:
            yield connection
        except Exception as error:
            reason = outage.in_use(error, closed=_is_closed(connection))
            if reason is None:
                raise
            raise DatabaseAway(reason) from error
        finally:
            await self._release(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """
        Lend a connection inside a transaction: committed at the end, undone on any error.

        Raises DatabaseAway as `connection` does; then it is not known whether a commit that
        was under way took place.
        """
        async with self.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            except BaseException:
                await _undo(connection, transaction)
                raise
            await transaction.commit()

    async def attempt(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """
        Run `work` in a transaction, again after a deadlock (40P01) or a serialization failure
        (40001), `max_retries` times in all; what it did before is undone.
        """
        waits = backoff.waits(first=0.05, cap=1.0)
        for _ in range(self._max_retries - 1):
            try:
                async with self.transaction() as connection:
                    return await work(connection)
            except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as error:
                log.info("transaction.retried", sqlstate=error.sqlstate)
            await asyncio.sleep(next(waits))
        async with self.transaction() as connection:
            return await work(connection)

    async def ping(self, timeout: float = 2.0) -> float:
        """Return how many seconds an answer took. Raises DatabaseAway, soon after `timeout`."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(timeout), self.connection() as connection:
                await connection.fetchval("select 1")
        except TimeoutError as error:
            raise DatabaseAway(f"no answer within {timeout:g} s") from error
        return time.monotonic() - began

    async def close(self, timeout: float = 2.0) -> None:
        """Wait `timeout` seconds for lent connections to come back, then cut what is left."""
        self._closed = True
        if self._pool is None:
            return
        try:
            async with asyncio.timeout(timeout):
                await self._pool.close()  # cuts the rest when it is cancelled
        except outage.RAISED:  # TimeoutError is one of them
            self._pool.terminate()

    def terminate(self) -> None:
        """Cut every connection now; whoever waits for an answer gets DatabaseAway."""
        self._closed = True
        if self._pool is not None:
            self._pool.terminate()

    @contextmanager
    def bind(self) -> Iterator[Database]:
        """Make it what `current` returns, in this task and those it starts from now on."""
        token = _bound.set(self)
        try:
            yield self
        finally:
            _bound.reset(token)

    async def _acquire(self) -> Connection:
        if self._closed:
            raise DatabaseAway("the pool was closed")
        try:
            if self._pool is None:
                self._pool = self._new_pool()
            pool = await self._pool  # opens nothing: the pool begins empty
            return await pool.acquire(timeout=self.connect_timeout)
        except outage.RAISED as error:
            raise DatabaseAway(f"{self._why(error)} [{self.address!r}]") from error

    def _new_pool(self) -> asyncpg.Pool[asyncpg.Record]:
        arguments = self.address.arguments()
        settings = {"application_name": "tidemark", **(arguments.pop("server_settings") or {})}
        return asyncpg.create_pool(
            **arguments,
            server_settings=settings,
            min_size=0,
            max_size=self._size,
            max_inactive_connection_lifetime=self._idle_timeout,
            timeout=self.connect_timeout,
            command_timeout=self._query_timeout,
        )

    def _why(self, error: BaseException) -> str:
        pool = self._pool
        if isinstance(error, TimeoutError) and pool is not None and pool.get_size() >= self._size:
            return f"all {self._size} connections were busy for {self.connect_timeout:g} s"
        return outage.while_connecting(error, self.connect_timeout)

    async def _release(self, connection: Connection) -> None:
        """Hand it back. What goes wrong here cuts the connection and is nobody's error."""
        assert self._pool is not None  # it lent the connection
        try:
            await self._pool.release(connection, timeout=TIDY_SECONDS)
        except outage.RAISED as error:
            log.debug("connection.cut", reason=type(error).__name__)


async def _undo(connection: Connection, transaction: Transaction) -> None:
    """Roll back, or cut the connection, which has the same effect. Raises nothing of its own."""
    try:
        async with asyncio.timeout(TIDY_SECONDS):
            await transaction.rollback()
    except outage.RAISED:
        if not _is_closed(connection):
            connection.terminate()


def _is_closed(connection: Connection) -> bool:
    # The pool takes back a connection that broke, and then it cannot be asked any more.
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        return True


def current() -> Database:
    """Return the database that was bound. Raises LookupError saying what to do where none was."""
    try:
        return _bound.get()
    except LookupError:
        raise LookupError("no database is bound here: use `with database.bind():`") from None
