"""What runs, from start to stop?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Never

import structlog

from ..errors import Status
from .parts import Parts
from .stopping import Stop

log = structlog.get_logger()

# Of the time to drain, what is kept for ending the tasks and closing what is open.
CLOSE_SECONDS = 1.0
# Of the time to drain, how much of it sinks get for what they are being handed.
SINKS_SHARE = 0.25


class Stopped(Exception):
    """Ends the tasks because somebody asked for it."""


class PartEnded(Exception):
    """A part that never ends has ended."""


async def run(parts: Parts, stop: Stop) -> int:
    """
    Run until told to stop and return the exit status: 0, or 1 when a part crashed.

    Everything the worker does is one of these tasks, and none of them ends by itself: half a
    worker would look healthy.
    """
    log.info("worker.starting", **parts.summary)
    status = Status.CLEAN
    try:
        with parts.database.bind():
            await _run_tasks(parts, stop)
    except* Stopped:
        pass
    except* Exception as crash:
        status = Status.FAILED
        log.error("worker.failed", exc_info=crash)
    stop.abandon_after(CLOSE_SECONDS * 2, status)
    await parts.database.close(timeout=CLOSE_SECONDS / 2)
    log.info("worker.stopped", status=int(status), waiting=parts.lane.waiting)
    return int(status)


async def _run_tasks(parts: Parts, stop: Stop) -> None:
    async with asyncio.TaskGroup() as tasks:
        started = {
            name: tasks.create_task(_for_ever(name, part, stop), name=name)
            for name, part in parts.coroutines().items()
        }
        log.info("worker.running")
        await stop.asked.wait()
        await _drain(parts, started["realtime"], stop)
        raise Stopped


async def _drain(parts: Parts, link: asyncio.Task[Never], stop: Stop) -> None:
    """Take no more in, finish what was taken in, in the time there is."""
    parts.health.draining = True
    log.info("worker.draining", waiting=parts.lane.waiting)
    try:
        async with asyncio.timeout(max(stop.seconds - CLOSE_SECONDS, stop.seconds / 2)):
            link.cancel()
            await asyncio.wait([link])
            await parts.lane.drain()
            await parts.outbox.rest(stop.seconds * SINKS_SHARE)
    except TimeoutError:
        log.warning("worker.undrained", waiting=parts.lane.waiting)
        # Whoever waits for a hung server's answer is let go of.
        parts.database.terminate()


async def _for_ever(name: str, part: Awaitable[object], stop: Stop) -> Never:
    try:
        try:
            await part
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # by us
        raise PartEnded(name)
    except Exception as error:
        log.error("part.failed", part=name, exc_info=error)
        # The others are cancelled now, and one that does not let itself be is no half worker.
        stop.abandon_after(stop.seconds, Status.FAILED)
        raise
