"""How do the frames of a live link get into a file?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import structlog

from ..errors import CommandFailed
from ..event import Event, Gap
from ..hidden import Hidden
from ..realtime.credentials import Credentials
from ..realtime.link import Link
from ..subscription import Subscription
from .recording import frame_line, gap_line, header

log = structlog.get_logger()


class Recorder:
    """Writes what a link hears, line by line. `frames` counts them."""

    def __init__(self, file: BinaryIO, hidden_columns: frozenset[str]) -> None:
        self._file = file
        self._hidden = Hidden(hidden_columns)
        self._began = asyncio.get_running_loop().time()
        self.failure: OSError | None = None
        self.failed = asyncio.Event()
        self.frames = 0

    def hear(self, what: bytes | Gap) -> None:
        """Write a frame or a closed gap. A disk that is full is no matter for the link."""
        at = round(asyncio.get_running_loop().time() - self._began, 3)
        if isinstance(what, Gap):
            line = gap_line(at, what)
        else:
            line = frame_line(at, what, self._hidden)
            self.frames += 1
        try:
            self._file.write(line)
            self._file.flush()  # what was heard is in the file, however the process ends
        except OSError as error:
            self.failure = error
            self.failed.set()

    # As a listener it wants no events: recording runs no handler.

    async def receive(self, event: Event, size: int) -> None:
        """Events are read from the recording, later."""

    def gap_opened(self, reason: str, tables: frozenset[str], topics: frozenset[str]) -> None:
        """A gap is written when it closes."""


async def record(
    out: Path,
    *,
    seconds: float | None,
    url: str,
    key: str,
    subscriptions: Sequence[Subscription],
    hidden_columns: frozenset[str],
    credentials: Credentials | None = None,
    heartbeat: float = 25.0,
) -> int:
    """
    Write the frames received in that time to a new file; without a time, until cancelled.

    Returns how many there were. Raises CommandFailed when the file exists already or cannot be
    written, and when nothing was heard at all.
    """
    with _written(out) as file:
        file.write(header(subscriptions, datetime.now(UTC).isoformat(timespec="seconds")))
        recorder = Recorder(file, hidden_columns)
        link = Link(
            url=url,
            key=key,
            subscriptions=subscriptions,
            listener=recorder,
            hidden_columns=hidden_columns,
            credentials=credentials,
            heartbeat=heartbeat,
            tap=recorder.hear,
        )
        log.info("recording.started", out=str(out), channels=len(subscriptions))
        try:
            await _listen(link, recorder, seconds)
        finally:
            log.info("recording.finished", out=str(out), frames=recorder.frames)
    if recorder.failure is not None:
        raise CommandFailed(f"{out}: {recorder.failure.strerror}")
    if not recorder.frames:
        raise CommandFailed(f"nothing was heard, so {out} holds no frame")
    return recorder.frames


@contextmanager
def _written(out: Path) -> Iterator[BinaryIO]:
    """A new file. Raises CommandFailed whatever is wrong with it, on a full disk while closing."""
    try:
        with out.open("xb") as file:
            yield file
    except FileExistsError:
        raise CommandFailed(f"{out} exists already: recordings are not overwritten") from None
    except OSError as error:
        raise CommandFailed(f"{out}: {error.strerror}") from None


async def _listen(link: Link, recorder: Recorder, seconds: float | None) -> None:
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(link.run(), name="realtime")
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await recorder.failed.wait()
        listening.cancel()
