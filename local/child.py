"""How does a process that we started end, whatever happens to us?"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """For `preexec_fn`: be told to stop when the parent is gone, even by SIGKILL (Linux only)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@asynccontextmanager
async def child(
    *command: str,
    env: Mapping[str, str],
    stdout: int | None = asyncio.subprocess.DEVNULL,
    stderr: int | None = None,
    patience: float = 12.0,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """
    Run `python -m …` beside us; stop it on the way out: SIGTERM, then SIGKILL after `patience` s.

    It gets a session of its own, so that Ctrl-C in the terminal reaches only us and the
    parts are stopped in order.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *command,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    try:
        yield process
    finally:
        await stop(process, patience)


async def stop(process: asyncio.subprocess.Process, patience: float = 12.0) -> int:
    """Ask the process to end, insist after `patience` seconds; return its exit status."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(patience):
                return await process.wait()
        except TimeoutError:
            process.kill()
    return await process.wait()
