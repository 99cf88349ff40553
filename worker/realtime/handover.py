"""How do events get from the reader to whoever handles them, without the reader waiting?"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Never

from ..event import Event, Gap

MOST_EVENTS = 256
MOST_BYTES = 16 * 1024 * 1024  # of the frames they came in, and what is made of these


class Handover:
    """
    A bounded queue between the task that reads and the one that hands events on, in order.

    Putting never waits, so nothing read is lost to a deadline; the reader looks at `is_full`
    and stops reading until there is `room`. It exists because handing on may wait (that is the
    back-pressure), and the reader has heartbeats to send meanwhile.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Event, int]] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._room.set()
        self._empty.set()
        self.is_full = False
        self.newest: Event | None = None  # of all that were put in

    def put(self, event: Event, size: int) -> None:
        """Take an event in; `size` is about how many bytes it keeps."""
        self._waiting.append((event, size))
        self.newest = event
        self._bytes += size
        if not self._filled.is_set():
            self._filled.set()
            self._empty.clear()
        if len(self._waiting) >= MOST_EVENTS or self._bytes >= MOST_BYTES:
            self.is_full = True
            self._room.clear()

    async def room(self) -> None:
        """Return once there is room again."""
        await self._room.wait()

    async def empty(self) -> None:
        """Return once everything put in was handed on."""
        await self._empty.wait()

    async def run(
        self,
        receive: Callable[[Event, int], Awaitable[None]],
        handing_on: Callable[[Gap], None],
    ) -> Never:
        """Hand events on, one after the other; say which gap is next."""
        waiting = self._waiting
        while True:
            await self._filled.wait()
            while waiting:
                event, size = waiting[0]
                if type(event) is Gap:
                    handing_on(event)
                await receive(event, size)
                waiting.popleft()
                self._bytes -= size
                if self.is_full and self._is_half_empty():
                    self.is_full = False
                    self._room.set()
            self._filled.clear()
            self._empty.set()

    def _is_half_empty(self) -> bool:
        return len(self._waiting) <= MOST_EVENTS // 2 and self._bytes <= MOST_BYTES // 2
