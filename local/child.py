"""How does a process that we started end, whatever happens to us?"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def dying_with_us(how: signal.Signals) -> Callable[[], None] | None:
    """
    For `preexec_fn`: have the kernel send the child that signal when we are gone, even by SIGKILL.

    It belongs to the thread that starts the child. Linux only; None elsewhere.
    """
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask_the_kernel() -> None:
        # The child calls it after setuid, which would clear it.
        prctl(_PR_SET_PDEATHSIG, how)
        if os.getppid() != parent:
            os._exit(1)

    return ask_the_kernel


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
        preexec_fn=dying_with_us(signal.SIGTERM),
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
