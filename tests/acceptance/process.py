"""How does a test start the worker as a process, and wait for what it says?"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).parents[2]

# No test comes near it: what takes so long hangs.
HANG_SECONDS = 30.0

Line = dict[str, Any]


class WorkerProcess:
    """A running `python -m worker …`; `said` are its log lines so far, `text` all else it wrote."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._more = asyncio.Condition()
        self._ended = False
        self.pid = process.pid
        self.said: list[Line] = []
        self.text = ""
        self.output = ""  # of standard output

    async def event(self, name: str, after: int = 0, **having: Any) -> Line:
        """
        Wait for the log event, and return its line with its `place` in `said`.

        `after` is the place of a line that it has to follow. Fails with all that was said when
        the process ends without saying it.
        """

        def found() -> Line | None:
            for place, line in enumerate(self.said[after:], start=after):
                if line["event"] == name and having.items() <= line.items():
                    return {**line, "place": place}
            return None

        async with asyncio.timeout(HANG_SECONDS), self._more:
            await self._more.wait_for(lambda: found() is not None or self._ended)
        line = found()
        if line is None:
            raise AssertionError(f"it ended without saying {name} {having or ''}\n{self.story()}")
        return line

    def events(self, name: str) -> list[Line]:
        """The lines of this event up to now."""
        return [line for line in self.said if line["event"] == name]

    async def ends(self) -> int:
        """Wait for its end and return the status: negative for a signal that killed it."""
        async with asyncio.timeout(HANG_SECONDS):
            status = await self._process.wait()
            async with self._more:
                await self._more.wait_for(lambda: self._ended)
        return status

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def story(self) -> str:
        return "\n".join([*(orjson.dumps(line).decode() for line in self.said), self.text])

    async def read(self) -> None:
        """Read what it writes until it ends."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_output())
            tasks.create_task(self._read_log())

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _read_output(self) -> None:
        assert self._process.stdout is not None
        self.output = (await self._process.stdout.read()).decode()

    async def _read_log(self) -> None:
        assert self._process.stderr is not None
        async for raw in self._process.stderr:
            async with self._more:
                self._note(raw.decode())
                self._more.notify_all()
        async with self._more:
            self._ended = True
            self._more.notify_all()

    def _note(self, line: str) -> None:
        try:
            said = orjson.loads(line)
        except orjson.JSONDecodeError:
            said = None
        if isinstance(said, dict) and "event" in said:
            self.said.append(said)
        else:
            self.text += line


@asynccontextmanager
async def worker_process(
    *arguments: str, folder: Path, settings: Mapping[str, str]
) -> AsyncIterator[WorkerProcess]:
    """
    Run `python -m worker` in `folder` with these settings and no others; killed at the end.

    A package of handlers in `folder` can be named by HANDLERS.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "worker",
        *arguments,
        cwd=folder,
        env={**_environment(), **settings},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=16 * 1024 * 1024,
    )
    worker = WorkerProcess(process)
    reading = asyncio.create_task(worker.read())
    try:
        yield worker
    finally:
        await worker.kill()
        await reading


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "LOG_FORMAT": "json", "LOG_LEVEL": "debug"}
