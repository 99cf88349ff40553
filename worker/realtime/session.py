"""Which frame is due, and what state is each channel in?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..backoff import waits
from ..errors import ConnectionLost, FrameError, HeartbeatMissed
from ..subscription import Subscription
from .channel import (
    NEVER,
    Channel,
    Moved,
    State,
    Timing,
    is_not_retried,
    is_refused_for_good,
    refusal,
)
from .protocol import Frame, encode

MOST_CHANNELS = 100  # Realtime refuses more on one socket

_PHOENIX = "phoenix"


class Session:
    """
    One connection, from its opening to its loss: no I/O, and time is an argument.

    Call `tick` once `deadline` has come and send what it returns; set `heard` for any frame, and
    give `receive` those that carry no event. `moves` then holds what became of the channels, to
    be taken by the caller.
    """

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        *,
        token: str | None,
        now: float,
        timing: Timing | None = None,
        backoff: Callable[[], Iterator[float]] = waits,
    ) -> None:
        self._timing = timing or Timing()
        self._token = token
        self._backoff = backoff
        self._last_ref = 0
        self._channels = {
            channel.wire_topic: channel
            for channel in (
                Channel(subscription=wanted, waits=backoff(), due=now) for wanted in subscriptions
            )
        }
        self.beat_at = now + self._timing.heartbeat
        self._beat_ref: str | None = None  # of the heartbeat not yet answered
        self._beat_sent = NEVER
        self._is_answer_due = False
        self._join_at = now
        self.heard = True
        self.healthy = False
        self.round_trip: float | None = None  # seconds, of the last answered heartbeat
        self.deadline = now
        self.moves: list[Moved] = []

    @property
    def channels(self) -> dict[str, Channel]:
        """Channels by topic, without the prefix of the wire."""
        return {channel.subscription.topic: channel for channel in self._channels.values()}

    @property
    def ready(self) -> bool:
        """Say whether events flow through every channel."""
        return all(channel.state is State.READY for channel in self._channels.values())

    def knows(self, wire_topic: str) -> bool:
        """Say whether frames of this topic concern us."""
        return wire_topic in self._channels

    def tick(self, now: float) -> list[str]:
        """
        Return the frames that are due. Raises HeartbeatMissed when nothing was heard in time.

        Any frame proves the server alive: behind a burst the answer to a heartbeat may be late.
        """
        frames = self.beat(now)
        for channel in self._channels.values():
            if now >= channel.due and channel.state is not State.WAITING:
                self._overdue(channel, now)
        for channel in self._channels.values():
            if channel.state is State.WAITING and now >= max(channel.due, self._join_at):
                frames.append(self._join(channel, now))
        self._plan()
        return frames

    def beat(self, now: float) -> list[str]:
        """Return a heartbeat if one is due: all that may be sent while nothing is read."""
        if now < self.beat_at:
            return []
        timing = self._timing
        if self._is_answer_due:
            self._is_answer_due = False
            if not self.heard:
                raise HeartbeatMissed(f"silent for {timing.silence:g} s after a heartbeat")
            self._note_health()
            self.beat_at = max(now, self._beat_sent + timing.heartbeat)
            if now < self.beat_at:
                return []
        self._beat_ref = self._ref()
        self._beat_sent = now
        self.beat_at = now + timing.silence
        self._is_answer_due = True
        self.heard = False
        return [encode(None, self._beat_ref, _PHOENIX, "heartbeat", {})]

    def excuse(self, now: float) -> None:
        """Put off what an answer was due for: it may have come, but nothing was being read."""
        if self._is_answer_due:
            self._is_answer_due = False
            self.beat_at = max(now, self._beat_sent + self._timing.heartbeat)
        for channel in self._channels.values():
            if channel.state in (State.JOINING, State.JOINED, State.DEGRADED):
                channel.due = max(channel.due, now + self._timing.join)
        self._plan()

    def receive(self, frame: Frame, now: float) -> None:
        """
        Take in a frame that carries no event.

        Raises FrameError for one that means nothing to us (`unknown topic`, `unknown event`,
        `wrong types`), ConnectionLost when the server asks us to go.
        """
        self.heard = True
        payload = frame.payload
        if type(payload) is not dict:
            raise FrameError("wrong types")
        channel = self._channels.get(frame.topic)
        if frame.event == "phx_reply" and frame.topic == _PHOENIX:
            self._answered(frame, now)
        elif frame.event == "system":
            self._system(channel, frame, now)
        elif frame.event not in ("phx_reply", "phx_close", "phx_error"):
            raise FrameError("unknown event")
        elif channel is None:
            raise FrameError("unknown topic")
        elif channel.is_current(frame.join_ref):
            if frame.event == "phx_reply":
                self._replied(channel, frame, now)
            elif channel.state is not State.WAITING:
                reason = channel.reason if channel.state is State.DEGRADED else frame.event
                self._rejoin_later(channel, now, reason)
        self._plan()

    # Heartbeats

    def _answered(self, frame: Frame, now: float) -> None:
        if frame.ref is not None and frame.ref == self._beat_ref:
            self._beat_ref = None
            self.round_trip = now - self._beat_sent
            self._note_health()

    def _note_health(self) -> None:
        settled = (State.READY, State.REFUSED)
        if all(channel.state in settled for channel in self._channels.values()):
            self.healthy = True

    # Channels

    def _join(self, channel: Channel, now: float) -> str:
        channel.join_ref = self._ref()
        self._move(channel, State.JOINING, now + self._timing.join, channel.reason)
        self._join_at = now + self._timing.pace
        payload = channel.join(self._token)
        return encode(channel.join_ref, channel.join_ref, channel.wire_topic, "phx_join", payload)

    def _replied(self, channel: Channel, frame: Frame, now: float) -> None:
        if channel.state is not State.JOINING or frame.ref != channel.join_ref:
            return  # the answer to a leave or to something older
        timing = self._timing
        for other in self._channels.values():
            if other.state is State.JOINING:
                other.due = now + timing.join
        if frame.payload.get("status") != "ok":
            self._refused(channel, refusal(frame.payload.get("response")), now)
        elif channel.subscription.bindings:
            self._move(channel, State.JOINED, now + timing.subscribed, "joined")
        else:
            self._become_ready(channel, now)

    def _refused(self, channel: Channel, reason: str, now: float) -> None:
        if is_refused_for_good(reason):
            self._move(channel, State.REFUSED, now + self._timing.refused, reason)
        else:
            self._rejoin_later(channel, now, reason)

    def _system(self, channel: Channel | None, frame: Frame, now: float) -> None:
        payload = frame.payload
        message = payload.get("message")
        message = message if isinstance(message, str) else "no message given"
        if message == "Server requested disconnect":
            raise ConnectionLost("server requested disconnect")
        if channel is None:
            raise FrameError("unknown topic")
        if not channel.is_current(frame.join_ref) or channel.state is State.WAITING:
            return
        if channel.state is State.JOINING and frame.join_ref is None:
            return  # nothing says that the channel being joined is meant, not the one before
        if payload.get("extension") != "postgres_changes":
            if payload.get("status") != "ok":  # fatal: phx_close follows
                self._move(channel, State.DEGRADED, now + self._timing.closing, message)
        elif payload.get("status") == "ok":
            self._become_ready(channel, now)
        elif is_not_retried(message):
            self._move(channel, State.REFUSED, now + self._timing.unwatched, message)
        else:
            self._move(channel, State.DEGRADED, now + self._timing.degraded, message)

    def _become_ready(self, channel: Channel, now: float) -> None:
        if channel.state is not State.READY:
            channel.ready_at = now
        self._move(channel, State.READY, NEVER, "subscribed")

    def _overdue(self, channel: Channel, now: float) -> None:
        reasons = {
            State.JOINING: "join not answered",
            State.JOINED: "no changes after the join",
        }
        self._rejoin_later(channel, now, reasons.get(channel.state, channel.reason))

    def _rejoin_later(self, channel: Channel, now: float, reason: str) -> None:
        if now - channel.ready_at >= self._timing.stable:
            channel.waits = self._backoff()
        channel.ready_at = NEVER
        self._move(channel, State.WAITING, now + next(channel.waits), reason)

    def _move(self, channel: Channel, state: State, due: float, reason: str) -> None:
        self.moves.append(Moved(channel.subscription.topic, channel.state, state, reason))
        channel.state, channel.due, channel.reason = state, due, reason

    def _plan(self) -> None:
        dues = [self.beat_at]
        for channel in self._channels.values():
            is_waiting = channel.state is State.WAITING
            dues.append(max(channel.due, self._join_at) if is_waiting else channel.due)
        self.deadline = min(dues)

    def _ref(self) -> str:
        self._last_ref += 1
        return str(self._last_ref)
