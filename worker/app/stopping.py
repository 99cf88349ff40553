"""How does the process stop in time, whatever hangs?"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Never

import structlog

log = structlog.get_logger()

SIGNALS = (signal.SIGTERM, signal.SIGINT)

# What is left between the end of the drain and the platform's SIGKILL is short.
GRACE_SECONDS = 1.0
LAST_WORDS_SECONDS = 0.5

Main = Callable[["Stop"], Coroutine[Any, Any, int]]


class Stop:
    """
    The wish to stop: `asked` is set once, by a signal or by whoever calls `ask`.

    From then on the process has `seconds`, and then it is gone, whatever it does.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._last_resort: threading.Thread | None = None

    def listen(self) -> None:
        """Hear signals in a thread: it hears them while the event loop is blocked, too."""
        threading.Thread(target=self._hear, name="signals", daemon=True).start()

    def abandon_after(self, seconds: float, status: int) -> None:
        """Start the clock after which the process is gone. The first one counts."""
        if self._last_resort is None:
            self._last_resort = threading.Thread(
                target=_abandon, args=(seconds, status), name="last-resort", daemon=True
            )
            self._last_resort.start()

    def _hear(self) -> None:
        first = signal.Signals(signal.sigwait(_heard()))
        self.abandon_after(self.seconds + GRACE_SECONDS, 0)
        _aside(lambda: log.info("signal.received", signal=first.name))
        self._loop.call_soon_threadsafe(self.asked.set)
        os._exit(128 + signal.sigwait(_heard()))


def run_to_the_end(main: Main, *, seconds: float) -> Never:
    """
    Run `main` on uvloop where there is one, and leave the process with the status it returns.

    Not with `asyncio.run`: that waits, without end on 3.11, for the threads of the default
    executor, and a look-up of a host name that hangs is one of them.
    """
    # Blocked before any thread is started, so that only the thread that waits for them gets them.
    signal.pthread_sigmask(signal.SIG_BLOCK, _heard())

    async def with_signals() -> int:
        stop = Stop(seconds)
        stop.listen()
        return await main(stop)

    runner = asyncio.Runner(loop_factory=_loop_factory())
    leave(runner.run(with_signals()))


def leave(status: int) -> Never:
    """End the process now; threads that hang are not waited for."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def _heard() -> set[signal.Signals]:
    """What is ignored stays so: a shell has its background jobs ignore SIGINT."""
    return {number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN}


def _abandon(seconds: float, status: int) -> None:
    time.sleep(seconds)
    words = _aside(lambda: log.error("worker.abandoned", seconds=seconds))
    words.join(LAST_WORDS_SECONDS)
    os._exit(status)


def _aside(say: Callable[[], object]) -> threading.Thread:
    """Log in a thread of its own: whoever hangs may hold the log's lock, or its pipe be full."""
    words = threading.Thread(target=say, name="words", daemon=True)
    words.start()
    return words


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return None
    return uvloop.new_event_loop
