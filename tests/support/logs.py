"""What did the code under test say in its log?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from structlog.testing import capture_logs
from structlog.typing import EventDict, WrappedLogger


class Log:
    """The lines of the log, and who waits for one. What a line is to have are its fields."""

    def __init__(self) -> None:
        self.lines: list[EventDict] = []
        self._more = asyncio.Event()

    def hear(self, logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
        """Keep a line: a processor of structlog."""
        self.lines.append({**line, "level": method})
        self._more.set()
        return line

    def said(self, event: str, **having: Any) -> list[EventDict]:
        return [
            line for line in self.lines if line["event"] == event and having.items() <= line.items()
        ]

    async def until(self, event: str, **having: Any) -> EventDict:
        """Return the first such line once there is one."""
        while not self.said(event, **having):
            self._more.clear()
            await self._more.wait()
        return self.said(event, **having)[0]


@contextlib.contextmanager
def logged() -> Iterator[Log]:
    """Hear all that is said within the block, in place of whoever hears it otherwise."""
    log = Log()
    with capture_logs(processors=[log.hear]):
        yield log
