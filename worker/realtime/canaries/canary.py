"""Does what we send come back through Realtime, and what is to be done if it does not?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from ..heartbeat import NEVER

Kind = Literal["changes", "broadcast"]
Remedy = Literal["rejoin", "reconnect"]

MOST_BEATS = 100  # waited for at a time
MOST_DELAYS = 5  # times that patience is had anew with a server that lags behind


@dataclass(frozen=True, slots=True)
class Came:
    """
    A beat came back, so many `seconds` after it was begun.

    `lost_since` is set when one before it did not: what was sent since that time may be lost,
    too. `silent` is set when it ends a silence: so many seconds long.
    """

    seconds: float
    lost_since: float | None = None
    silent: float | None = None


@dataclass(frozen=True, slots=True)
class Missed:
    """No beat came back. All that was sent before `since` came, what was sent later may not."""

    since: float
    remedy: Remedy


@dataclass(slots=True)
class _Beat:
    begun: float
    sent: float | None = None  # when it was known to be on its way


class Canary:
    """
    The beats of one kind on one line, across its connections: no I/O, and time is an argument.

    A beat is `begun`, then `sent` or `failed` (the database was away, say: that proves nothing),
    and it `came` or not. One that does not come in time is followed by another at once: a lost
    beat and a dead way are two things, and a database that takes no beat is a third. If that
    does not come either, `look` says what to do: join again, then connect again, and after that
    less and less often. `wanted` asks for a beat now.

    Times are of one clock; that of the database is never compared with it.
    """

    def __init__(
        self, kind: Kind, *, patience: float, pauses: Callable[[], Iterator[float]]
    ) -> None:
        self.kind = kind
        self.deadline = NEVER
        self.wanted = False
        self._patience = patience
        self._new_pauses = pauses
        self._pauses = pauses()
        self._pause = 0.0
        self.is_flying = False
        self.grounded_since = NEVER
        self._has_flown = False  # on this connection
        self._is_in_doubt = False  # a beat is late, and another was asked for
        self._misses = 0
        self._delays = 0
        self._trusted = NEVER
        self._beats: dict[int, _Beat] = {}  # those begun that did not come, by number

    @property
    def silent_since(self) -> float | None:
        """Since when nothing is known to have come, if a beat was missed."""
        return self._trusted if self._misses else None

    @property
    def trusted_until(self) -> float:
        """Until when everything is known to have come."""
        return self._trusted

    @property
    def proved_until(self) -> float:
        """The same; NEVER where no beat could come on this connection so far, or none can now."""
        return self._trusted if self._has_flown else NEVER

    def connected(self, now: float) -> None:
        """A connection begins, and everything on it: what was missed before has its gaps."""
        self.stops(now)
        self._has_flown = False
        self.grounded_since = now
        if not self._misses:
            self._trusted = now

    def flies(self) -> None:
        """The channel is ready: what is sent from now on has to come."""
        if not self.is_flying:
            self.is_flying = self.wanted = self._has_flown = True

    def stops(self, now: float) -> None:
        """The channel is ready no more: what is on its way may not come, and proves nothing."""
        if self.is_flying:
            self.grounded_since = now
        self.is_flying = self.wanted = self._is_in_doubt = False
        self._beats.clear()
        self.deadline = NEVER

    def excused(self) -> None:
        """No beat can come, and that is nobody's fault: none is missed."""
        self._has_flown = False
        self._beats.clear()
        self._is_in_doubt = False
        self.deadline = NEVER
        self._recover()

    def begun(self, number: int, now: float) -> None:
        """A beat is about to be sent. It may come before we know that it was."""
        if self.is_flying:
            self.wanted = False
            self._beats[number] = _Beat(now)
            if len(self._beats) > MOST_BEATS:
                del self._beats[next(iter(self._beats))]

    def sent(self, number: int, now: float) -> None:
        """The beat is on its way."""
        beat = self._beats.get(number)
        if beat is None:
            return  # it came already, or the channel it was for is gone
        beat.sent = now
        if self.deadline == NEVER:
            self.deadline = now + self._pause + self._patience / (2 if self._is_in_doubt else 1)

    def failed(self, number: int) -> None:
        """The beat was not sent, as far as we know. Nobody is judged until one is."""
        self._beats.pop(number, None)
        self._is_in_doubt = False
        self.deadline = NEVER

    def excuse(self, seconds: float) -> None:
        """For so long nothing was read: what was due may have come."""
        self.deadline += seconds
        for beat in self._beats.values():
            beat.sent = None if beat.sent is None else beat.sent + seconds

    def came(self, number: int, now: float) -> Came | None:
        """
        A beat came back; None for one that nobody waits for.

        That is one sent before the channel joined again: it may have come the old way.
        """
        beat = self._beats.get(number)
        if beat is None:
            return None
        is_one_lost = any(
            other < number and earlier.sent is not None for other, earlier in self._beats.items()
        )
        came = Came(
            now - beat.begun,
            lost_since=self._trusted if is_one_lost else None,
            silent=now - self._trusted if self._misses else None,
        )
        self._beats = {other: later for other, later in self._beats.items() if other > number}
        self._trusted, self._has_flown = beat.begun, True
        self._is_in_doubt = False
        self._delays = 0
        self._recover()
        sent = [later.sent for later in self._beats.values() if later.sent is not None]
        self.deadline = min(sent) + self._patience if sent else NEVER
        return came

    def look(self, now: float, *, is_behind: bool = False) -> Missed | None:
        """
        Say what to do about a beat that did not come in time. Call it at `deadline`.

        A server that `is_behind` still tells of what happened before the beat: joining again
        would lose the rest of it. It is given time, but not for ever.
        """
        if now < self.deadline:
            return None
        if is_behind and self._is_in_doubt and self._delays < MOST_DELAYS:
            self._delays += 1
            self.deadline = now + self._patience
            return None
        self.deadline = NEVER
        if not self._is_in_doubt:
            self._is_in_doubt = self.wanted = True
            return None
        self._misses += 1
        if self._misses > 1:  # the ways to wake a server are used up: ask less and less often
            self._pause = next(self._pauses)
        self._is_in_doubt = False
        self._beats.clear()
        return Missed(self._trusted, "rejoin" if self._misses == 1 else "reconnect")

    def _recover(self) -> None:
        if self._misses:
            self._misses, self._pause = 0, 0.0
            self._pauses = self._new_pauses()
