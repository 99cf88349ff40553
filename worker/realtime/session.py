"""Which frame is due, and what state is each channel in?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..backoff import waits
from ..errors import ConnectionLost, FrameError
from ..subscription import Subscription
from .channel import (
    Channel,
    Moved,
    Pace,
    State,
    Timing,
    is_about_token,
    is_not_retried,
    is_refused_for_good,
    refusal,
    weight,
)
from .events import CARRIERS, PREFIX
from .heartbeat import NEVER, Heartbeat
from .protocol import Frame, encode

MOST_CHANNELS = 100  # Realtime refuses more on one socket

_PHOENIX = "phoenix"
_JOINED = (State.JOINED, State.READY, State.DEGRADED)  # the server has a channel of ours


class Session:
    """
    One connection, from its opening to its loss: no I/O, and time is an argument.

    Call `tick` once `deadline` has come and send what it returns; set `heartbeat.heard` for any
    frame, and give `receive` those that carry no event. `moves` then holds what became of the
    channels, to be taken by the caller.

    On a trial, a channel whose join is accepted does not get further than that.
    """

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        *,
        token: str | None,
        now: float,
        timing: Timing | None = None,
        pace: Pace | None = None,
        backoff: Callable[[], Iterator[float]] = waits,
        is_trial: bool = False,
    ) -> None:
        self._is_trial = is_trial
        self._timing = timing or Timing()
        self._pace = pace or Pace()
        self._token = token
        self._backoff = backoff
        self._last_ref = 0
        self._queued: list[str | bytes] = []
        self._left: set[str] = set()  # topics of channels that went to another line
        self._carrying: set[str] = set()  # topics whose events are for others than us
        self._end: str | None = None
        self._channels: dict[str, Channel] = {}
        self.heartbeat = Heartbeat(self._timing.heartbeat, self._timing.silence, now)
        self.healthy = False
        self.deadline = now
        self.moves: list[Moved] = []
        self.echoes: list[Frame] = []  # what canaries brought back
        for wanted in subscriptions:
            self.admit(Channel(subscription=wanted, waits=backoff(), due=now), now)

    @property
    def channels(self) -> dict[str, Channel]:
        """Channels by topic, without the prefix of the wire."""
        return {channel.subscription.topic: channel for channel in self._channels.values()}

    @property
    def ready(self) -> bool:
        """Say whether events flow through every channel."""
        return all(
            channel.state is State.READY or channel.subscription.canary
            for channel in self._channels.values()
        )

    @property
    def joined(self) -> int:
        """How many channels the server has of us."""
        return sum(channel.state in _JOINED for channel in self._channels.values())

    @property
    def has_queued(self) -> bool:
        """Say whether frames of ours wait to be sent."""
        return bool(self._queued)

    def knows(self, wire_topic: str) -> bool:
        """Say whether events of this topic concern whoever listens."""
        return wire_topic in self._carrying

    def echoes_on(self, wire_topic: str) -> bool:
        """Say whether events of this topic are those of a canary, and `receive` takes them."""
        return wire_topic in self._channels and wire_topic not in self._carrying

    def has_left(self, wire_topic: str) -> bool:
        """Say whether frames of this topic concern another line of ours by now."""
        return wire_topic in self._left

    # What others ask of it

    def renew(self, token: str | None, now: float) -> None:
        """
        Join with this token from now on, and tell it to each channel that is joined.

        Those that were refused for the token before join at once.
        """
        if token == self._token:
            return
        self._token = token
        for channel in self._channels.values():
            if channel.state in _JOINED:
                self._tell_token(channel, now)
            else:
                self._join_with_newer(channel, now)
        self._plan()

    def rejoin(self, now: float, reason: str, *, changes_only: bool) -> None:
        """
        Join again at once what is joined, or only what brings changes of tables.

        Whoever asks for it again and again keeps a pace of his own.
        """
        for channel in self._channels.values():
            if channel.state in _JOINED and (channel.subscription.bindings or not changes_only):
                channel.ready_at = NEVER
                self._move(channel, State.WAITING, now, reason)
        self._plan()

    def push(self, frame: str | bytes, now: float) -> None:
        """Queue a frame of ours; it goes out with the next tick, which is due at once."""
        self._queued.append(frame)
        self.deadline = min(self.deadline, now)

    def admit(self, channel: Channel, now: float) -> None:
        """Take in a channel that no other session has."""
        self._left.discard(channel.wire_topic)
        self._channels[channel.wire_topic] = channel
        self._join_with_newer(channel, now)
        if not channel.subscription.canary:
            self._carrying.add(channel.wire_topic)
        self.deadline = min(self.deadline, max(now, channel.due))

    def release(self, topic: str, now: float) -> Channel:
        """
        Let a channel go to another session, where it joins when it would have joined here.

        One that is joined leaves here and joins there at once.
        """
        channel = self._channels.pop(PREFIX + topic)
        self._carrying.discard(channel.wire_topic)
        self._left.add(channel.wire_topic)
        if channel.state in (State.JOINING, *_JOINED):
            leave = encode(channel.join_ref, self._ref(), channel.wire_topic, "phx_leave", {})
            self.push(leave, now)
            channel.state, channel.due = State.WAITING, now
        channel.join_ref = None
        self._plan()
        return channel

    def end(self, reason: str) -> None:
        """Have the next tick raise ConnectionLost, which is due at once."""
        self._end = reason
        self._plan()

    # Time

    def tick(self, now: float) -> list[str | bytes]:
        """
        Return the frames that are due. Raises HeartbeatMissed when nothing was heard in time,
        ConnectionLost when somebody wanted the end.

        Any frame proves the server alive: behind a burst the answer to a heartbeat may be late.
        """
        if self._end is not None:
            raise ConnectionLost(self._end)
        frames = self.beat(now)
        for channel in self._channels.values():
            if now >= channel.due and channel.state is not State.WAITING:
                self._overdue(channel, now)
        for channel in self._channels.values():
            if channel.state is State.WAITING and now >= max(channel.due, self._pace.at):
                frames.append(self._join(channel, now))
        self._plan()
        return frames

    def beat(self, now: float) -> list[str | bytes]:
        """Return what is queued and a heartbeat if one is due: all that needs no answer read."""
        frames, self._queued = self._queued, []
        if self.heartbeat.is_proved(now):
            self._note_health()
        if now >= self.heartbeat.due:
            ref = self._ref()
            self.heartbeat.sent(ref, now)
            frames.append(encode(None, ref, _PHOENIX, "heartbeat", {}))
        return frames

    def excuse(self, now: float) -> None:
        """Put off what an answer was due for: it may have come, but nothing was being read."""
        self.heartbeat.excuse(now)
        for channel in self._channels.values():
            if channel.state in (State.JOINING, State.JOINED, State.DEGRADED):
                channel.due = max(channel.due, now + self._timing.join)
        self._plan()

    # What the server says

    def receive(self, frame: Frame, now: float) -> None:
        """
        Take in a frame that carries no event, or that of a canary.

        Raises FrameError for one that means nothing to us (`unknown topic`, `unknown event`,
        `wrong types`), ConnectionLost when the server asks us to go.
        """
        self.heartbeat.heard = True
        payload = frame.payload
        if type(payload) is not dict:
            raise FrameError("wrong types")
        channel = self._channels.get(frame.topic)
        if frame.event in CARRIERS:
            self.echoes.append(frame)
            return
        if frame.event == "phx_reply" and frame.topic == _PHOENIX:
            if self.heartbeat.answered(frame.ref, now):
                self._note_health()
        elif frame.event == "system":
            self._system(channel, frame, now)
        elif frame.event not in ("phx_reply", "phx_close", "phx_error"):
            raise FrameError("unknown event")
        elif channel is None:
            if frame.topic not in self._left:
                raise FrameError("unknown topic")
        elif channel.is_current(frame.join_ref):
            if frame.event == "phx_reply":
                self._replied(channel, frame, now)
            elif channel.state is not State.WAITING:
                reason = channel.reason if channel.state is State.DEGRADED else frame.event
                self._rejoin_later(channel, now, reason)
        self._plan()

    def _note_health(self) -> None:
        settled = (State.READY, State.REFUSED)
        channels = self._channels.values()
        if all(channel.state in settled or channel.subscription.canary for channel in channels):
            self.healthy = True

    # Channels

    def _join(self, channel: Channel, now: float) -> str:
        channel.join_ref = self._ref()
        channel.token = self._token
        channel.repeats_until = -NEVER
        self._move(channel, State.JOINING, now + self._timing.join, channel.reason)
        self._pace.joined(now, self._timing.pace)
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
            return
        if channel.subscription.bindings or self._is_trial:
            self._move(channel, State.JOINED, now + timing.subscribed, "joined")
        else:
            self._become_ready(channel, now)
        self._tell_token(channel, now)

    def _refused(self, channel: Channel, reason: str, now: float) -> None:
        channel.refusals += weight(reason)
        if is_refused_for_good(reason):
            self._move(channel, State.REFUSED, now + self._timing.refused, reason)
        else:
            self._rejoin_later(channel, now, reason)

    def _join_with_newer(self, channel: Channel, now: float) -> None:
        """What was refused for a token that has a successor need not wait."""
        if not is_about_token(channel.reason) or channel.token == self._token:
            return
        if channel.state is State.WAITING:
            channel.due = now
        elif channel.state is State.REFUSED:
            self._move(channel, State.WAITING, now, channel.reason)

    def _tell_token(self, channel: Channel, now: float) -> None:
        """The server says `Subscribed to PostgreSQL` once more for a new token: no gap."""
        token = self._token
        if token is None or token == channel.token:
            return
        channel.token = token
        if channel.subscription.bindings:
            channel.repeats_until = now + self._timing.renewed
        payload = {"access_token": token}
        frame = encode(channel.join_ref, self._ref(), channel.wire_topic, "access_token", payload)
        self.push(frame, now)

    def _system(self, channel: Channel | None, frame: Frame, now: float) -> None:
        payload = frame.payload
        message = payload.get("message")
        message = message if isinstance(message, str) else "no message given"
        if message == "Server requested disconnect":
            raise ConnectionLost("server requested disconnect")
        if channel is None:
            if frame.topic in self._left:
                return
            raise FrameError("unknown topic")
        if not channel.is_current(frame.join_ref) or channel.state is State.WAITING:
            return
        if channel.state is State.JOINING and frame.join_ref is None:
            return  # nothing says that the channel being joined is meant, not the one before
        if payload.get("extension") != "postgres_changes":
            if payload.get("status") != "ok":  # fatal: phx_close follows
                self._move(channel, State.DEGRADED, now + self._timing.closing, message)
        elif payload.get("status") == "ok":
            self._subscribed(channel, now)
        elif is_not_retried(message):
            self._move(channel, State.REFUSED, now + self._timing.unwatched, message)
        else:
            self._move(channel, State.DEGRADED, now + self._timing.degraded, message)

    def _subscribed(self, channel: Channel, now: float) -> None:
        if channel.state is State.READY and now < channel.repeats_until:
            channel.repeats_until = -NEVER
            return
        self._become_ready(channel, now)

    def _become_ready(self, channel: Channel, now: float) -> None:
        if channel.state is not State.READY:
            channel.ready_at = now
        channel.refusals = 0
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
        dues = [self.heartbeat.due]
        for channel in self._channels.values():
            is_waiting = channel.state is State.WAITING
            dues.append(max(channel.due, self._pace.at) if is_waiting else channel.due)
        is_due = self._queued or self._end is not None
        self.deadline = -NEVER if is_due else min(dues)

    def _ref(self) -> str:
        self._last_ref += 1
        return str(self._last_ref)
