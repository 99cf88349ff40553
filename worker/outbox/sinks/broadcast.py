"""How does a notification reach somebody's open page?"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ...effects import Notice
from ..sink import Options, Send


@asynccontextmanager
async def opened(options: Options) -> AsyncIterator[Send]:
    """
    Send as a Supabase broadcast on the private topic `audience:recipient` (`agent:<id>`).

    The event is the notice's kind; the payload is its data with `notification_id`, by which a
    page that gets it twice knows it. Who may listen is for the policies of `realtime.messages`.
    """
    # Importing it takes 0.4 s, which only a worker that broadcasts should pay, and no loop.
    realtime = await asyncio.to_thread(importlib.import_module, "realtime")
    client = realtime.AsyncRealtimeClient(
        f"{options.supabase_url}/realtime/v1", token=options.supabase_key
    )

    async def send(notice: Notice) -> None:
        # Not client.channel(): it would remember a channel for every recipient for ever.
        channel = realtime.AsyncRealtimeChannel(
            client,
            f"realtime:{notice.audience}:{notice.recipient}",
            {"config": {"private": True}},
        )
        payload = {"notification_id": str(notice.id), **notice.data}
        await channel.http_send(notice.kind, payload)

    yield send
