"""How does a test work the official Python client?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeSubscribeStates

from local.realtime.server import Server
from tests.support.sockets import token

PRIVATE: Any = {"broadcast": None, "presence": None, "private": True}


@asynccontextmanager
async def realtime_client(server: Server) -> AsyncIterator[AsyncRealtimeClient]:
    one = AsyncRealtimeClient(f"{server.url}/realtime/v1", token=token())
    await one.connect()
    try:
        yield one
    finally:
        await one.close()


async def subscribed(channel: AsyncRealtimeChannel) -> None:
    states: asyncio.Queue[RealtimeSubscribeStates] = asyncio.Queue()
    await channel.subscribe(lambda state, error: states.put_nowait(state))

    assert await states.get() == RealtimeSubscribeStates.SUBSCRIBED
