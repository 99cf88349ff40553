"""How do the bytes of a logical slot arrive, without holding up the event loop?"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg2
from psycopg2 import extensions
from psycopg2.extras import LogicalReplicationConnection

from local.realtime.changes.sessions import APPLICATION, VALUE_SETTINGS, FeedLost

PUBLICATIONS = '"tidemark_local","supabase_realtime_messages_publication"'
# Seconds. It lets the slot advance, and in a silence it wakes a sender that slept through a flush
# it should have sent: seen once in some 100,000 changes at full speed on PostgreSQL 18.
FEEDBACK = 0.25
BATCH = 500  # messages at most, so that a long transaction does not sit in memory as a whole


class Stream:
    """A temporary slot and the connection that does nothing but read it."""

    def __init__(self, cursor: Any, readable: asyncio.Event) -> None:
        self._cursor = cursor  # a ReplicationCursor; its types know no send_feedback
        self._readable = readable
        self._seen = 0  # the position up to which everything has been handed out
        self._answered = 0.0

    async def batches(self) -> AsyncIterator[list[bytes]]:
        """
        Whatever has arrived, at most BATCH messages at once; nothing now and then when idle.

        Raises FeedLost.
        """
        while True:
            yield (batch := self._arrived())
            if batch:
                await asyncio.sleep(0)  # a busy slot must not starve the sockets
            else:
                await self._wait()
            if asyncio.get_running_loop().time() - self._answered >= FEEDBACK:
                self._answer()

    def _arrived(self) -> list[bytes]:
        self._readable.clear()
        batch: list[bytes] = []
        with _losses():
            while len(batch) < BATCH:
                message = self._cursor.read_message()
                if message is None:
                    # Nothing is left of what was handed out: the slot may let go of it.
                    self._seen = max(self._seen, self._cursor.wal_end) if not batch else self._seen
                    break
                self._seen = message.data_start
                batch.append(message.payload)
        return batch

    async def _wait(self) -> None:
        # Not wait_for: in Python 3.11 it forgets a cancellation that comes with the data.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FEEDBACK):
                await self._readable.wait()

    def _answer(self) -> None:
        """Let the slot advance past what has been handed out, or it would keep all WAL since."""
        with _losses():
            self._cursor.send_feedback(flush_lsn=self._seen, force=True)
        self._answered = asyncio.get_running_loop().time()


@contextlib.asynccontextmanager
async def streaming(admin_url: str) -> AsyncIterator[Stream]:
    """
    Make a slot and stream from it; the slot goes with the connection.

    What commits after this is entered will be seen. Entering waits for the transactions that
    are running now, in the whole cluster. Raises FeedLost.
    """
    with _losses():
        connection = psycopg2.connect(
            admin_url,
            connection_factory=LogicalReplicationConnection,
            async_=1,
            options=" ".join(f"-c {k}={_escaped(v)}" for k, v in VALUE_SETTINGS.items()),
            application_name=APPLICATION,
        )
    try:
        await _settled(connection)
        cursor = connection.cursor()
        slot = f"tidemark_local_{secrets.token_hex(6)}"
        with _losses():
            cursor.execute(f"CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL pgoutput")
        await _settled(connection)
        with _losses():
            cursor.start_replication(
                slot_name=slot,
                options={"proto_version": "1", "publication_names": PUBLICATIONS},
            )
        await _settled(connection)
        with _watched(connection.fileno()) as readable:
            yield Stream(cursor, readable)
    finally:
        connection.close()


async def _settled(connection: Any) -> None:
    """Wait until the connection has done what it was last told."""
    while True:
        with _losses():
            state = connection.poll()
        if state == extensions.POLL_OK:
            return
        await _ready(connection.fileno(), state == extensions.POLL_WRITE)


async def _ready(descriptor: int, writing: bool) -> None:
    with _watched(descriptor, writing) as ready:
        await ready.wait()


@contextlib.contextmanager
def _watched(descriptor: int, writing: bool = False) -> Iterator[asyncio.Event]:
    """
    An event that is set whenever the descriptor is ready.

    Leave it before the connection is closed: the number of a closed descriptor is soon another
    connection's, and the loop would take the one for the other.
    """
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    (loop.add_writer if writing else loop.add_reader)(descriptor, ready.set)
    try:
        yield ready
    finally:
        (loop.remove_writer if writing else loop.remove_reader)(descriptor)


@contextlib.contextmanager
def _losses() -> Iterator[None]:
    try:
        yield
    except psycopg2.Error as error:
        raise FeedLost(str(error).strip() or type(error).__name__) from error


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
