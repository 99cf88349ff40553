"""What does a newcomer see when they type `make run`?"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path

import asyncpg
import httpx
import orjson
from rich.console import Console
from rich.live import Live

from . import screen, truth
from .child import child, stop
from .postgres import free_port
from .realtime.settings import Settings
from .stack import Stack, running

# As the real server but for the 1–3 s until changes flow: a newcomer's patience is short.
_SETTINGS = Settings(subscribed_delay=(0.2, 0.2))
_REFRESH = 0.5  # seconds
_A_DAY = 86_400.0  # seconds
_LOG_BYTES = 10_000_000
_PATIENCE = 5.0  # seconds without a new audit row, after which no more is expected


class DemoFailed(Exception):
    """The demonstration cannot go on; the message says what to look at."""


@dataclass(slots=True)
class Demo:
    """What the parts of a demonstration share."""

    stack: Stack
    port: int
    log: Path
    begun: float  # time.monotonic()
    screen: screen.Screen = field(default_factory=screen.Screen)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def env(self) -> dict[str, str]:
        settings = {
            "PORT": str(self.port),
            "HOST": "127.0.0.1",
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "debug",
        }
        return {**os.environ, **self.stack.env, **settings}


async def demonstrate(data: Path, seconds: float | None, rate: float, seed: int) -> int:
    """
    Run everything until told to stop, or `seconds` after the first handled event.

    Returns 0, or 1 when audit rows and changes disagree. Raises DemoFailed.
    """
    begun = time.monotonic()
    console = Console()
    console.print("starting PostgreSQL and Realtime …", style="dim")
    async with running(data, _SETTINGS) as stack:
        demo = Demo(stack, free_port(0), data / "worker.log", begun)
        with told_to_stop(demo.stopping):
            await migrate(demo)
            return await show(demo, console, seconds, rate, seed)


async def show(demo: Demo, console: Console, seconds: float | None, rate: float, seed: int) -> int:
    """Start the worker, then traffic; show both; stop them in order; compare and sum up."""
    connection = await asyncpg.connect(demo.stack.database_url)
    try:
        async with worker(demo):
            if not await first(demo.ready, demo.stopping):
                return 0
            after = await truth.watch(connection)
            async with traffic(demo, rate, seed) as simulator:
                await watch(demo, console, seconds)
                await stop(simulator)
            comparison = await drained(connection, after)
            figures = await read_figures(demo.port)
        elapsed = time.monotonic() - demo.begun
        said = screen.summary(figures, comparison, elapsed, str(demo.log))
        console.print(said, highlight=False, soft_wrap=True)
        return 0 if comparison.agrees else 1
    finally:
        await connection.close()


async def migrate(demo: Demo) -> None:
    """Bring the database's tables up to date, as a release would."""
    async with child("worker", "migrate", env=demo.env | {"LOG_LEVEL": "warning"}) as process:
        if await process.wait() != 0:
            raise DemoFailed("`python -m worker migrate` failed; what it said is above")


@asynccontextmanager
async def worker(demo: Demo) -> AsyncIterator[None]:
    """Run the worker, follow its log; raise DemoFailed if it ends before it is told to."""
    async with child("worker", "run", env=demo.env, stderr=asyncio.subprocess.PIPE) as process:
        assert process.stderr is not None  # it is a pipe
        following = asyncio.create_task(follow(demo, process.stderr))
        try:
            yield
        finally:
            ended_early = following.done()
            status = await stop(process)
            await following
            if ended_early:
                said = "\n".join(demo.screen.lines)
                raise DemoFailed(
                    f"the worker ended with status {status}; its log: {demo.log}\n{said}"
                )


async def follow(demo: Demo, lines: asyncio.StreamReader) -> None:
    """Write the worker's log down; show its last lines; notice when it is ready or gone."""
    # Two files of so many bytes: somebody leaves it running over the weekend.
    demo.log.unlink(missing_ok=True)
    log = RotatingFileHandler(demo.log, maxBytes=_LOG_BYTES, backupCount=1)
    async for raw in lines:
        line = raw.decode(errors="replace").rstrip()
        log.emit(logging.makeLogRecord({"msg": line}))
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            entry = {"event": line}
        demo.screen.note(entry)
        if entry.get("event") == "worker.ready":
            demo.ready.set()
    log.close()
    demo.stopping.set()


def traffic(
    demo: Demo, rate: float, seed: int
) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """Let the RE Engine's people work, `rate` changes a second, until stopped."""
    return child(
        *("local", "simulate", "--rate", str(rate), "--for", str(_A_DAY), "--seed", str(seed)),
        env=demo.env,
    )


async def watch(demo: Demo, console: Console, seconds: float | None) -> None:
    """Refresh the screen until told to stop, or for `seconds` from the first handled event."""
    has_screen = console.is_terminal and not console.is_dumb_terminal
    with Live(demo.screen, console=console, auto_refresh=False, transient=True) as live:
        ends = float("inf")
        while time.monotonic() < ends and not demo.stopping.is_set():
            demo.stack.cluster.check()
            demo.screen.figures = await read_figures(demo.port)
            if ends == float("inf") and demo.screen.figures["effects_committed_total:audit"]:
                took = time.monotonic() - demo.begun
                console.print(f"first event handled {took:.1f} s after the start")
                ends = time.monotonic() + (seconds if seconds is not None else _A_DAY)
            live.update(demo.screen, refresh=has_screen)
            if not has_screen:
                console.print(screen.one_line(demo.screen.figures), highlight=False, soft_wrap=True)
            await first(demo.stopping, timeout=_REFRESH if has_screen else 1.0)


async def drained(connection: asyncpg.Connection, after: int) -> truth.Comparison:
    """Compare once the audit has caught up with the traffic, or grows no more."""
    patience = _PATIENCE
    comparison = await truth.compare(connection, after)
    while comparison.missing and patience > 0:
        await asyncio.sleep(_REFRESH)
        before, comparison = comparison, await truth.compare(connection, after)
        patience = patience - _REFRESH if comparison == before else _PATIENCE
    return comparison


async def read_figures(port: int) -> screen.Figures:
    """Read the worker's metrics page; no figures when it does not answer."""
    try:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{port}/metrics", timeout=2.0)
    except httpx.HTTPError:
        return screen.Figures({}, ())
    return screen.Figures.read(answer.text)


async def first(*events: asyncio.Event, timeout: float | None = None) -> bool:
    """Wait until one of the events is set; return whether the first of them is."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    return events[0].is_set()


@contextmanager
def told_to_stop(stopping: asyncio.Event) -> Iterator[None]:
    """Set `stopping` on Ctrl-C or SIGTERM instead of breaking off in the middle."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
