"""Is the server still there?"""

from __future__ import annotations

from ..errors import HeartbeatMissed

NEVER = float("inf")


class Heartbeat:
    """
    When to ask whether the server is there, and by when to have heard from it.

    No I/O, and time is an argument. Set `heard` for any frame: behind a burst of events the
    answer to a heartbeat may be late, and the burst proves as much.
    """

    def __init__(self, every: float, silence: float, now: float) -> None:
        self._every = every
        self._silence = silence
        self._ref: str | None = None  # of the one not yet answered
        self._sent = -NEVER
        self._is_answer_due = False
        self.due = now + every
        self.heard = True
        self.round_trip: float | None = None  # seconds, of the last that was answered

    def is_proved(self, now: float) -> bool:
        """
        Say whether something was heard since the last one, once its time is over.

        Raises HeartbeatMissed when nothing was.
        """
        if now < self.due or not self._is_answer_due:
            return False
        self._is_answer_due = False
        if not self.heard:
            raise HeartbeatMissed(f"silent for {self._silence:g} s after a heartbeat")
        self.due = max(now, self._sent + self._every)
        return True

    def sent(self, ref: str, now: float) -> None:
        """Take note that one went out under this ref."""
        self._ref = ref
        self._sent = now
        self._is_answer_due = True
        self.due = now + self._silence
        self.heard = False

    def answered(self, ref: str | None, now: float) -> bool:
        """Take an answer in; say whether it is that of the last one sent."""
        if ref is None or ref != self._ref:
            return False
        self._ref = None
        self.round_trip = now - self._sent
        return True

    def excuse(self, now: float) -> None:
        """Ask for no answer to the last one: it may have come, but nothing was being read."""
        if self._is_answer_due:
            self._is_answer_due = False
            self.due = max(now, self._sent + self._every)
