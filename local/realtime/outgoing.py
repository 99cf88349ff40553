"""What waits to be sent to one client, and in which order does it leave?"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from aiohttp import ClientError, WSMsgType

from local.realtime.faults import Faults
from local.realtime.serializer import Frame

REORDERING = 0.05  # seconds that a frame waits for another one to let pass


class Overflow(Exception):
    """A client reads less than is sent to it."""


class Socket(Protocol):
    async def send_frame(self, message: bytes, opcode: WSMsgType) -> None: ...


class Outgoing:
    """
    The frames of one connection, bounded: `put` never waits.

    `send_timeout` seconds is how long one frame may take, `most` how many bytes may wait. After
    `lose` everything vanishes on its way.
    """

    def __init__(self, socket: Socket, faults: Faults, send_timeout: float, most: int) -> None:
        self._socket = socket
        self._faults = faults
        self._send_timeout = send_timeout
        self._most = most
        self._waiting: deque[Frame] = deque()
        self._size = 0
        self._held: list[Frame] | None = None
        self._more = asyncio.Event()
        self._lost = False

    def put(self, frame: Frame) -> None:
        """Raises Overflow when too much waits; what waited is forgotten then."""
        if self._held is not None:
            self._held.append(frame)
            return
        self._waiting.append(frame)
        self._size += len(frame.data)
        self._more.set()
        if self._size > self._most:
            self._waiting.clear()
            self._size = 0
            raise Overflow

    def hold(self) -> None:
        """Keep back what is put from now on."""
        self._held = []

    def release(self, first: Frame) -> None:
        """Send this one, then what was held back. Raises Overflow."""
        held, self._held = self._held or [], None
        for frame in (first, *held):
            self.put(frame)

    def lose(self) -> None:
        self._lost = True

    async def run(self) -> None:
        """Send for ever. Raises TimeoutError, ConnectionError, ClientError."""
        while True:
            await self._more.wait()
            self._more.clear()
            await self.flush()

    async def flush(self) -> None:
        """Send what waits now. Raises as `run` does."""
        while self._waiting:
            await self._faults.thawed()
            frame = self._waiting.popleft()
            self._size -= len(frame.data)
            for one in await self._mangled(frame):
                await self._send(one)

    async def _mangled(self, frame: Frame) -> list[Frame]:
        """What is sent in its place."""
        faults = self._faults
        if faults.drop_frames is not None and faults.drop_frames.strikes():
            return []
        if faults.duplicate_frames is not None and faults.duplicate_frames.strikes():
            return [frame, frame]
        if faults.reorder_frames is not None and faults.reorder_frames.strikes():
            return [*await self._next(), frame]
        return [frame]

    async def _next(self) -> list[Frame]:
        """The frame behind, where there is one soon."""
        if not self._waiting:
            self._more.clear()
            try:
                async with asyncio.timeout(REORDERING):
                    await self._more.wait()
            except TimeoutError:
                return []
        if not self._waiting:
            return []  # it was too much, and is gone
        frame = self._waiting.popleft()
        self._size -= len(frame.data)
        return [frame]

    async def _send(self, frame: Frame) -> None:
        if self._lost:
            return
        kind = WSMsgType.BINARY if frame.binary else WSMsgType.TEXT
        blocked = self._faults.slow_reader
        async with asyncio.timeout(self._send_timeout if blocked is None else blocked):
            while self._faults.slow_reader is not None:
                await self._faults.change()
            await self._socket.send_frame(frame.data, kind)


ERRORS = (TimeoutError, ConnectionError, ClientError)
