"""How long to wait before the next attempt?"""

from __future__ import annotations

from collections.abc import Iterator

from tenacity import RetryCallState, wait_random_exponential

FIRST = 0.5
CAP = 60.0
MOST_ATTEMPTS = 10  # to connect, within the first
HALF_A_MINUTE = 30.0


def waits(first: float = FIRST, cap: float = CAP) -> Iterator[float]:
    """
    Yield, without end, seconds to wait: uniform between 0 and a bound that doubles up to `cap`.

    Full jitter keeps a fleet from coming back in step. Start a new iterator only after proof
    of health: being accepted proves nothing, a server that accepts and hangs up would be hammered.
    """
    strategy = wait_random_exponential(multiplier=first, max=cap)
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type] # the strategy reads attempt_number only
    while True:
        yield strategy(state)
        state.attempt_number += 1


def reconnects(drawn: Iterator[float] | None = None) -> Iterator[float]:
    """
    Yield waits between attempts to connect, of which at most ten fall into the first 30 seconds.

    Jitter may draw ten short ones in a row; then the last of them is as long as it has to be.
    They are those of `waits`, if no others are given.
    """
    waited = 0.0
    for attempt, wait in enumerate(drawn or waits(), start=1):
        is_last = attempt == MOST_ATTEMPTS
        pause = max(wait, HALF_A_MINUTE - waited) if is_last else wait
        waited += pause
        yield pause
