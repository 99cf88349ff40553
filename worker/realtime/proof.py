"""Has a connection proved its worth, or that it has none?"""

from __future__ import annotations

from collections.abc import Set

from ..errors import ConnectionLost
from .channel import State
from .timing import Timing

_SETTLED = {State.READY, State.REFUSED}


class Proof:
    """
    What the states of a connection's channels say of it: no I/O, and time is an argument.

    Once `healthy`, the backoff may start over when it is lost.
    """

    def __init__(self, timing: Timing, now: float) -> None:
        self._timing = timing
        self._opened_at = now
        self._fruitful_at = now  # when something flowed, or nothing was to be expected
        self.healthy = False

    def heard(self, states: Set[State], now: float) -> bool:
        """
        Something came behind a heartbeat; return whether all is well now.

        A channel that is never well must not keep a connection from having been good.
        """
        is_old = now - self._opened_at >= self._timing.stable
        is_well = states <= _SETTLED or (is_old and State.READY in states)
        self.healthy = self.healthy or is_well
        return is_well

    def expect(self, states: Set[State], now: float) -> None:
        """
        Raise ConnectionLost when no channel was ready for long.

        A server may take joins, answer heartbeats and still bring nothing. What is refused for
        good is no reason: another connection would fare the same.
        """
        if states <= {State.REFUSED} or State.READY in states:
            self._fruitful_at = now
        elif now - self._fruitful_at >= self._timing.barren:
            raise ConnectionLost(f"no channel was ready for {self._timing.barren:g} s")

    def excuse(self, now: float) -> None:
        """Nothing was to be expected until now."""
        self._fruitful_at = now
