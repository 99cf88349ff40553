"""How long does a recording go on?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from ..errors import Status
from ..replay.record import record
from ..settings import Settings
from ..subscription import Subscription
from .parts import signed_in
from .stopping import Stop


async def record_until(
    stop: Stop,
    settings: Settings,
    subscriptions: Sequence[Subscription],
    *,
    out: Path,
    seconds: float | None,
) -> int:
    """
    Record until the time is over or somebody asks to stop; either way it is a clean end.

    Raises CommandFailed as `record` does.
    """
    recording = asyncio.create_task(
        record(
            out,
            seconds=seconds,
            url=settings.secret("supabase_url"),
            key=settings.secret("supabase_key"),
            subscriptions=subscriptions,
            hidden_columns=frozenset(settings.hidden_columns),
            credentials=signed_in(settings),
            heartbeat=settings.heartbeat_seconds,
        )
    )
    asked = asyncio.create_task(stop.asked.wait())
    await asyncio.wait({recording, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if not recording.done():
        recording.cancel()
        await asyncio.wait({recording})
    if not recording.cancelled():
        await recording
    return Status.CLEAN
