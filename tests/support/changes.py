"""How does a test listen to the change feed itself, without a socket?"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from local.realtime.changes import ChangeFeed, SubscriptionRefused, Wanted
from tests.support.goldens import CLAIMS, exact

MARK = """
insert into realtime.messages (topic, extension, event, payload) values ($1, 'test', 'mark', '{}')
"""
_numbers = itertools.count(1)


class Listener:
    """A feed on a database and what it delivered, in order."""

    def __init__(self, admin_url: str, **options: Any) -> None:
        self.feed = ChangeFeed(admin_url, message_inserted=self._message_inserted, **options)
        self.messages: list[Mapping[str, Any]] = []
        self.delivered: list[tuple[str, list[int], Any]] = []  # subscriber, ids, data
        self._marks: dict[str, asyncio.Event] = {}

    async def subscribe(
        self,
        *params: dict[str, Any],
        key: str = "subscriber",
        claims: Mapping[str, Any] = CLAIMS,
    ) -> None:
        """The ids are 1, 2, … in the order asked."""
        wanted = [Wanted.of(one, id) for id, one in enumerate(params, start=1)]

        def deliver(ids: list[int], data: bytes) -> None:
            self.delivered.append((key, ids, exact(data)))

        async with asyncio.timeout(10):
            await self.feed.subscribe(key, wanted, claims, deliver)

    async def refusal(self, *params: dict[str, Any], key: str = "subscriber") -> str | None:
        try:
            await self.subscribe(*params, key=key)
        except SubscriptionRefused as refused:
            return refused.message
        return None

    async def heard(self, session: asyncpg.Connection) -> list[Any]:
        """All data delivered, once everything committed before this call has been handled."""
        mark = f"mark-{next(_numbers)}"
        self._marks[mark] = asyncio.Event()
        await session.execute(MARK, mark)
        async with asyncio.timeout(10):
            await self._marks[mark].wait()
        return [data for _, _, data in self.delivered]

    async def heard_by_key(self, session: asyncpg.Connection) -> dict[str, list[Any]]:
        """The same by subscriber, without the marks, which `for all tables` publishes too."""
        await self.heard(session)
        found: dict[str, list[Any]] = {}
        for key, _, data in self.delivered:
            if data["schema"] != "realtime":
                found.setdefault(key, []).append(data)
        return found

    def _message_inserted(self, message: Mapping[str, Any]) -> None:
        if message["event"] == "mark":
            self._marks[message["topic"]].set()
        else:
            self.messages.append(message)


@asynccontextmanager
async def listening(admin_url: str, **options: Any) -> AsyncIterator[Listener]:
    """A running feed that is ready; it is stopped at the end."""
    listener = Listener(admin_url, **options)
    task = await started(listener.feed)
    try:
        yield listener
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def started(feed: ChangeFeed) -> asyncio.Task[None]:
    """The task that runs the feed, which is ready; raises what keeps it from being."""
    task = asyncio.create_task(feed.run())
    ready = asyncio.create_task(feed.ready.wait())
    await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if task.done():
        await task
    return task
