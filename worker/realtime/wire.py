"""How do frames come off the socket, as many at a time as there are?"""

from __future__ import annotations

import asyncio
from typing import Any, Never

from websockets.asyncio.client import ClientConnection
from websockets.frames import DATA_OPCODES, Frame
from websockets.protocol import CLOSING, Event

MOST_WAITING = 1024 * 1024  # bytes arrived and not read; beyond them the server has to wait
CLOSE_TIMEOUT = 0.5  # a goodbye waits behind the backlog, and a platform's patience is short

_OVERHEAD = 64  # bytes a frame costs beside its content, so that empty ones are bounded too


class Wire(ClientConnection):
    """
    A connection that hands over all the frames that have arrived at once.

    `recv()` of websockets costs a queue, a future and two coroutines for every frame; it is not
    to be used here. One task reads; any may `wake` it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arrived: list[bytes] = []
        self._size = 0  # of what has arrived, with the overhead
        self._begun: bytearray | None = None  # a frame that comes in fragments
        self._paused = False
        self._woken = False
        self._reader: asyncio.Future[None] | None = None

    async def read(self) -> list[bytes]:
        """
        Return the frames that have arrived, at least one; none only after `wake`.

        A cancelled call loses no frame. Raises ConnectionClosed once the connection is closed and
        all that came before was read.
        """
        while not self._arrived and not self._woken:
            if self._is_over():
                await self._ended()
            await self._something()
        self._woken = False
        arrived, self._arrived, self._size = self._arrived, [], 0
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()
        return arrived

    def wake(self) -> None:
        """Let the task that reads, or will read next, return at once."""
        self._woken = True
        self._tell()

    def data_received(self, data: bytes) -> None:
        """Take in what the transport has read."""
        super().data_received(data)
        if self._size > MOST_WAITING and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        if self._arrived or self._is_over():
            self._tell()

    def process_event(self, event: Event) -> None:
        """Keep a frame with data; leave the rest to websockets."""
        if type(event) is not Frame or event.opcode not in DATA_OPCODES:
            super().process_event(event)
        elif event.fin and self._begun is None:
            self._keep(bytes(event.data))
        else:
            if self._begun is None:
                self._begun = bytearray()
            self._begun += event.data
            if event.fin:
                self._keep(bytes(self._begun))
                self._begun = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the reader that nothing more will come."""
        super().connection_lost(exc)
        self._tell()

    def _keep(self, frame: bytes) -> None:
        self._arrived.append(frame)
        self._size += len(frame) + _OVERHEAD

    def _tell(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _something(self) -> None:
        self._reader = self.loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _is_over(self) -> bool:
        return self.protocol.state >= CLOSING

    async def _ended(self) -> Never:
        # A server that says goodbye and then holds the line is not waited for.
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.wait_closed()
        except TimeoutError:
            self.transport.abort()
            await self.wait_closed()
        raise self.protocol.close_exc from self.recv_exc
