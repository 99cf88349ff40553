"""Can an operator see that a notification went out?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from ...effects import Notice
from ..sink import Options, Send

log = structlog.get_logger()


@asynccontextmanager
async def opened(options: Options) -> AsyncIterator[Send]:
    """Say in a log line that there is a notification: what and for whom, never what it holds."""

    async def send(notice: Notice) -> None:
        log.info(
            "notification.announced",
            id=str(notice.id),
            audience=notice.audience,
            recipient=notice.recipient,
            kind=notice.kind,
        )

    yield send
