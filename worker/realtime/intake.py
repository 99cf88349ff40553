"""What becomes of a frame that was read?"""

from __future__ import annotations

from collections.abc import Callable

from .. import metrics
from ..errors import FrameError
from ..event import Gap
from .events import CARRIERS, Decoder, Withheld
from .handover import Handover
from .protocol import decode
from .session import Session
from .watch import Watch

_SMALL = 4096  # bytes
_OF_A_VALUE = 64  # bytes of memory, of a short text or an empty list with its place
_OF_AN_OBJECT = 128  # … more, of one with a key

_OTHER = "other"
_COUNTED = CARRIERS | {"phx_reply", "phx_close", "phx_error", "system", _OTHER}


class Intake:
    """
    Where all lines put the frames they read: an event goes into the hand-over, the rest is for
    the session of its line.
    """

    def __init__(
        self,
        decoder: Decoder,
        handover: Handover,
        watch: Watch,
        tap: Callable[[bytes | Gap], None] | None,
    ) -> None:
        self._decoder = decoder
        self._handover = handover
        self._watch = watch
        self._tap = tap
        self._frames = dict.fromkeys(_COUNTED, 0)  # by event, not yet told to the metrics

    @property
    def is_full(self) -> bool:
        """Say whether reading has to wait for whoever handles the events."""
        return self._handover.is_full

    async def room(self) -> None:
        """Return once there is room again."""
        await self._handover.room()

    def note(self) -> None:
        """Tell the metrics what was taken: a counter of theirs costs more than a dictionary's."""
        for event, count in self._frames.items():
            if count:
                metrics.frames_received.labels(event).inc(count)
                self._frames[event] = 0

    def take(self, raw: bytes, session: Session, now: float) -> bool:
        """Take one frame in; say whether the session may have moved by it."""
        session.heartbeat.heard = True
        if self._tap is not None:
            self._tap(raw)
        topic = event = None
        try:
            frame = decode(raw)
            topic, event = frame.topic, frame.event
            self._frames[event if event in _COUNTED else _OTHER] += 1
            if event not in CARRIERS:
                session.receive(frame, now)
                return True
            if not session.knows(topic):
                if session.echoes_on(topic):
                    session.receive(frame, now)
                    return True
                if session.has_left(topic):
                    return False
                raise FrameError("unknown topic")
            carried = self._decoder.read(frame, raw)
        except FrameError as error:
            self._watch.unreadable(error.kind, topic, event, now)
        else:
            if isinstance(carried, Withheld):
                self._watch.withheld(carried, now)
            elif carried is not None:
                self._handover.put(carried, _weight(raw))
        return False


def _weight(raw: bytes) -> int:
    """
    Return about how many bytes are kept of a frame.

    What is made of three megabytes of `[],` is seventy, and anybody may send a room just that.
    Small frames count as long as they are: there is a most of events, too.
    """
    size = len(raw)
    if size <= _SMALL:
        return size
    return size + _OF_A_VALUE * raw.count(b",") + _OF_AN_OBJECT * raw.count(b"{")
