"""How does a test make a server unreachable, and reachable again, at one address?"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

HOST = "127.0.0.1"


class Doorway:
    """
    A port that leads to a server while it is open, and refuses while it is shut.

    Frozen, it takes connections and bytes and passes nothing on: what a half-open connection
    and a stopped process look like from outside.
    """

    def __init__(self, port: int | None) -> None:
        self._target = port
        self._socket = socket.create_server((HOST, 0))
        self.port: int = self._socket.getsockname()[1]
        self._socket.close()
        self._server: asyncio.Server | None = None
        self._passing = asyncio.Event()
        self._passing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.knocked = asyncio.Event()  # somebody was let in
        self.ended = asyncio.Event()  # the server has hung up, and this was hidden
        self.hides_ends = False  # whoever was hung up on is not told

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._enter, HOST, self.port)

    async def shut(self) -> None:
        """Refuse new connections and reset those there are."""
        if self._server is not None:
            self._server.close()
        self._server = None
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def freeze(self) -> None:
        self._passing.clear()

    def thaw(self) -> None:
        self._passing.set()

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.knocked.set()
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._lead_through(reader, writer)
        except asyncio.CancelledError:
            pass  # shut: start_server would log it as an error
        finally:
            writer.close()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _lead_through(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await self._passing.wait()
        if self._target is None:
            return
        with suppress(OSError):
            inner_reader, inner_writer = await asyncio.open_connection(HOST, self._target)
            self._writers.add(inner_writer)
            try:
                await asyncio.gather(
                    self._pass(reader, inner_writer), self._pass(inner_reader, writer)
                )
            finally:
                inner_writer.close()
                self._writers.discard(inner_writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
        if self.hides_ends:
            self.ended.set()
            return
        with suppress(OSError, RuntimeError):
            writer.close()


@asynccontextmanager
async def doorway(port: int | None) -> AsyncIterator[Doorway]:
    """A doorway to `port` of this machine, open; to nowhere for None."""
    door = Doorway(port)
    await door.open()
    try:
        yield door
    finally:
        await door.shut()
