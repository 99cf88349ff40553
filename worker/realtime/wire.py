"""How do frames come off the socket, as many at a time as there are?"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final, Never

from websockets.asyncio.client import ClientConnection
from websockets.frames import DATA_OPCODES, Frame
from websockets.protocol import CLOSING, OPEN, Event

# What is made of a frame takes several times its size, and outgrows the processor's cache: many
# frames decoded before any is handled take twice as long.
AT_ONCE = 16
MOST_WAITING = 1024 * 1024  # bytes arrived and not read; beyond them the server has to wait
MOST_UNSENT = 1024 * 1024  # bytes of answers to its pings that a server does not take
CLOSE_TIMEOUT = 0.5  # a goodbye waits behind the backlog, and a platform's patience is short

_OVERHEAD = 64  # bytes a frame costs beside its content, so that empty ones are bounded too

# RFC 6455, 5.2: the first byte of a whole text or binary frame, and what the second one says.
_PLAIN: Final = frozenset({0x81, 0x82})
_LENGTH_OF_16_BITS: Final = 126
_LENGTH_OF_64_BITS: Final = 127


class Wire(ClientConnection):
    """
    A connection that hands over all the frames that have arrived at once.

    `recv()` of websockets costs a queue, a future and two coroutines for every frame; it is not
    to be used here. One task reads; any may `wake` it. Plain frames are cut out of the stream
    before websockets sees them, which takes a tenth of what its parser takes; anything else
    (control frames, fragments, what is against the protocol) is its own to judge.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arrived: list[bytes] = []
        self.waiting = 0  # bytes of what has arrived and was not read, with the overhead
        self._begun: bytearray | None = None  # a frame that comes in fragments
        self._largest = self.protocol.max_size or sys.maxsize
        self._is_cut = False  # whether the stream is cut here; a frame begins next
        self._part = bytearray()  # the beginning of a frame whose end has not come
        self._missing = 0  # bytes until it is worth looking at that again
        self._paused = False
        self._woken = False
        self._reader: asyncio.Future[None] | None = None

    async def read(self) -> list[bytes]:
        """
        Return the next frames that have arrived, at least one; none only after `wake`.

        They are AT_ONCE at most, and whoever handles what was read before has had a turn.

        A cancelled call loses no frame. Raises ConnectionClosed once the connection is closed and
        all that came before was read.
        """
        if self._arrived:
            await asyncio.sleep(0)
        while not self._arrived and not self._woken:
            if self._is_over():
                await self._ended()
            await self._something()
        self._woken = False
        frames, self._arrived = self._arrived[:AT_ONCE], self._arrived[AT_ONCE:]
        self.waiting -= sum(map(len, frames)) + _OVERHEAD * len(frames)
        if self._paused and not self._arrived and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()
        return frames

    def wake(self) -> None:
        """Let the task that reads, or will read next, return at once."""
        self._woken = True
        self._tell()

    def data_received(self, data: bytes) -> None:
        """Take in what the transport has read."""
        if self._is_cut:
            self._cut(data)
        else:
            super().data_received(data)
            # With anything behind the handshake a frame might have begun already.
            is_bare = data.endswith(b"\r\n\r\n") and not self.protocol.reader.buffer
            self._is_cut = self.protocol.state is OPEN and is_bare
        # What we send is waited for; answers to pings are written by websockets without.
        if self.transport.get_write_buffer_size() > MOST_UNSENT:
            self.transport.abort()
        if self.waiting > MOST_WAITING and not self._paused:
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

    def _cut(self, data: bytes) -> None:
        """Keep the plain frames; give whole frames of any other kind to websockets."""
        if self._part:
            self._part += data
            self._missing -= len(data)
            if self._missing > 0:
                return
            data, self._part = bytes(self._part), bytearray()
        start, size = 0, len(data)
        while start < size:
            if size - start >= 4 and data[start + 1] == _LENGTH_OF_16_BITS:  # as nearly all are
                begin = start + 4
                end = begin + (data[start + 2] << 8 | data[start + 3])
            else:
                begin, end = _extent(data, start)
            fits = end - begin <= self._largest
            if end > size and fits:
                self._part += data[start:]
                self._missing = end - size
                return
            if fits and data[start] in _PLAIN and self._begun is None:
                self._keep(data[begin:end])
            else:
                super().data_received(data[start:end])
                if self.protocol.state is not OPEN:
                    self._is_cut = False
                    super().data_received(data[end:])
                    return
            start = end

    def _keep(self, frame: bytes) -> None:
        self._arrived.append(frame)
        self.waiting += len(frame) + _OVERHEAD

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


def _extent(data: bytes, start: int) -> tuple[int, int]:
    """
    Return where the content of the frame that starts there begins, and where it ends.

    The end is beyond `data` when not all of it is there, perhaps not even all of its length. A
    masked frame, which no server may send, is given a length that none has.
    """
    begin = start + 2
    if begin > len(data):
        return begin, begin
    length = data[start + 1]
    if length < _LENGTH_OF_16_BITS:
        return begin, begin + length
    if length > _LENGTH_OF_64_BITS:
        return begin, sys.maxsize
    begin += 2 if length == _LENGTH_OF_16_BITS else 8
    if begin > len(data):
        return begin, begin
    return begin, begin + int.from_bytes(data[start + 2 : begin], "big")
