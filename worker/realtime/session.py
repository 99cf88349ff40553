"""Which frame is due on a connection?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..backoff import waits
from ..errors import ConnectionLost, FrameError
from ..subscription import Subscription
from .channel import Channel, Moved, State
from .events import CARRIERS, PREFIX
from .heartbeat import NEVER, Heartbeat
from .joining import MOST_JOINING, Tenant
from .proof import Proof
from .protocol import Frame, encode
from .refusals import LONGEST_REASON, UNKNOWN_THERE, refusal
from .timing import Timing

MOST_CHANNELS = 100  # Realtime refuses more on one socket

_PHOENIX = "phoenix"


def _nothing_missed(topic: str) -> int | None:
    return None


class Session:
    """
    One connection, from its opening to its loss: no I/O, and time is an argument.

    Call `tick` once `deadline` has come and send what it returns; set `heartbeat.heard` for any
    frame, and give `receive` those that carry no event. `moves` then holds what became of the
    channels, to be taken by the caller. `missed_since` says from when on broadcasts of a topic
    are missing, in unix milliseconds.

    On a trial, a channel whose join is accepted does not get further than that.
    """

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        *,
        token: str | None,
        now: float,
        timing: Timing | None = None,
        tenant: Tenant | None = None,
        backoff: Callable[[], Iterator[float]] = waits,
        missed_since: Callable[[str], int | None] = _nothing_missed,
        is_trial: bool = False,
    ) -> None:
        self._is_trial = is_trial
        self._timing = timing or Timing()
        self._tenant = tenant or Tenant()
        self._backoff = backoff
        self._token = token
        self._is_held = False  # this token is known to be refused, and the next one on its way
        self._missed_since = missed_since
        self._accepts = False  # the last join that was answered
        self._last_ref = 0
        self._queued: list[str | bytes] = []
        self._left: set[str] = set()  # topics of channels that went to another line
        self._channels: dict[str, Channel] = {}
        self._carrying: set[str] = set()  # topics whose events are for others than us
        self._end: str | None = None
        self.heartbeat = Heartbeat(self._timing.heartbeat, self._timing.silence, now)
        self._proof = Proof(self._timing, now)
        self.deadline = now
        self.moves: list[Moved] = []
        self.echoes: list[Frame] = []  # what canaries brought back
        for wanted in subscriptions:
            self.add(wanted, now)

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
    def healthy(self) -> bool:
        """Say whether the connection has been good."""
        return self._proof.healthy

    @property
    def joined(self) -> int:
        """How many channels the server has of us."""
        return sum(channel.is_joined for channel in self._channels.values())

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
        self._is_held = False
        if token == self._token:
            self._plan()
            return
        self._token = token
        for channel in self._channels.values():
            if channel.is_joined:
                self._tell_token(channel, now)
            else:
                channel.join_with_newer(token, now)
        self._plan()

    def hold(self, token: str | None) -> None:
        """Join no more with this token: each refusal holds up the socket for five seconds."""
        if token == self._token:
            self._is_held = True
            self._plan()

    def rejoin(self, now: float, reason: str, *, changes_only: bool) -> None:
        """
        Join again at once what is joined, or only what brings changes of tables.

        Whoever asks for it again and again keeps a pace of his own.
        """
        for channel in self._channels.values():
            is_meant = bool(channel.subscription.bindings) or not changes_only
            if is_meant and channel.is_joined and channel.state is not State.REFUSED:
                channel.rejoin(now, reason)
        self._plan()

    def push(self, frame: str | bytes, now: float) -> None:
        """Queue a frame of ours; it goes out with the next tick, which is due at once."""
        self._queued.append(frame)
        self.deadline = min(self.deadline, now)

    def add(self, wanted: Subscription, now: float) -> None:
        """Have a channel more, which joins at once."""
        channel = Channel(
            wanted, timing=self._timing, tenant=self._tenant, backoff=self._backoff, due=now
        )
        self.admit(channel, now)

    def admit(self, channel: Channel, now: float) -> None:
        """Take in a channel that no other session has."""
        self._left.discard(channel.wire_topic)
        self._channels[channel.wire_topic] = channel
        channel.tell = self._moved
        channel.join_with_newer(self._token, now)
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
        if channel.is_joined or channel.state is State.JOINING:
            leave = encode(channel.join_ref, self._ref(), channel.wire_topic, "phx_leave", {})
            self.push(leave, now)
        channel.let_go(now)
        self._plan()
        return channel

    def put_off(self, topic: str, now: float) -> None:
        """Have a channel that waits to join do so much later."""
        self._channels[PREFIX + topic].put_off(now)
        self._plan()

    def end(self, reason: str) -> None:
        """Have the next tick raise ConnectionLost, which is due at once."""
        self._end = reason
        self._plan()

    # Time

    def tick(self, now: float) -> list[str | bytes]:
        """
        Return the frames that are due. Raises HeartbeatMissed when nothing was heard in time,
        ConnectionLost when somebody wanted the end or no channel became ready for long.

        Any frame proves the server alive: behind a burst the answer to a heartbeat may be late.
        """
        if self._end is not None:
            raise ConnectionLost(self._end)
        if self._is_trial or self._is_held:
            self._proof.excuse(now)
        else:
            self._proof.expect(self._states, now)
        frames = self.beat(now)
        for channel in self._channels.values():
            if now >= channel.due and channel.state is not State.WAITING:
                channel.overdue(now)
        for channel in sorted(self._waiting(), key=lambda waiting: waiting.due):
            if now >= max(channel.due, self._tenant.join_at) and self._may_join:
                frames.append(self._join(channel, now))
        self._plan()
        return frames

    def beat(self, now: float) -> list[str | bytes]:
        """Return what is queued and a heartbeat if one is due: all that needs no answer read."""
        frames, self._queued = self._queued, []
        if self.heartbeat.is_proved(now):
            self._note_health(now)
        if now >= self.heartbeat.due:
            ref = self._ref()
            self.heartbeat.sent(ref, now)
            frames.append(encode(None, ref, _PHOENIX, "heartbeat", {}))
        return frames

    def excuse(self, now: float) -> None:
        """Put off what an answer was due for: it may have come, but nothing was being read."""
        self.heartbeat.excuse(now)
        self._proof.excuse(now)
        for channel in self._channels.values():
            channel.excuse(now)
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
                self._note_health(now)
        elif frame.event == "system":
            self._system(channel, frame, now)
        elif frame.event not in ("phx_reply", "phx_close", "phx_error"):
            raise FrameError("unknown event")
        elif channel is None:
            if not self.has_left(frame.topic):
                raise FrameError("unknown topic")
        elif channel.is_current(frame.join_ref):
            if frame.event == "phx_reply":
                self._replied(channel, frame, now)
            else:
                channel.closed(frame.event, now)
        self._plan()

    def _replied(self, channel: Channel, frame: Frame, now: float) -> None:
        if channel.state is not State.JOINING or frame.ref != channel.join_ref:
            if channel.is_joined and refusal(frame.payload.get("response")) == UNKNOWN_THERE:
                channel.closed(UNKNOWN_THERE, now)  # what was sent on it finds nobody
            return  # else it is the answer to something older, or one that nobody waits for
        for other in self._channels.values():  # those before it will not be answered any more
            if other.state is State.JOINING and other.is_behind(channel):
                other.due = now + self._timing.join
        channel.replied(frame.payload, now, is_trial=self._is_trial)
        self._accepts = channel.is_joined
        self._tell_token(channel, now)

    def _system(self, channel: Channel | None, frame: Frame, now: float) -> None:
        message = frame.payload.get("message")
        message = message[:LONGEST_REASON] if isinstance(message, str) else "no message given"
        if message == "Server requested disconnect":
            raise ConnectionLost("server requested disconnect")
        if channel is None:
            if self.has_left(frame.topic):
                return
            raise FrameError("unknown topic")
        if not channel.is_current(frame.join_ref) or channel.state is State.WAITING:
            return
        if channel.state is State.JOINING and frame.join_ref is None:
            return  # nothing says that the channel being joined is meant, not the one before
        if self._is_trial:
            return
        channel.system(frame.payload, message, now)
        self._tell_token(channel, now)

    def _note_health(self, now: float) -> None:
        if self._proof.heard(self._states, now):
            self._tenant.slowness = 1.0

    @property
    def _states(self) -> set[State]:
        """Of the channels that somebody listens to."""
        channels = self._channels.values()
        return {channel.state for channel in channels if not channel.subscription.canary}

    # Joining

    @property
    def _may_join(self) -> bool:
        """
        The server takes joins one by one and spends five seconds on each that it refuses.

        Where all are refused alike, a hundred at once would hold up the socket for minutes.
        """
        if self._is_held:
            return False
        joining = sum(channel.state is State.JOINING for channel in self._channels.values())
        return joining < (MOST_JOINING if self._accepts else 1)

    def _waiting(self) -> list[Channel]:
        return [channel for channel in self._channels.values() if channel.state is State.WAITING]

    def _join(self, channel: Channel, now: float) -> str:
        ref, topic = self._ref(), channel.subscription.topic
        payload = channel.join(ref, self._token, self._missed_since(topic), now)
        self._tenant.joined(now, self._timing.pace, self._timing.slowest)
        return encode(ref, ref, channel.wire_topic, "phx_join", payload)

    def _tell_token(self, channel: Channel, now: float) -> None:
        token = self._token
        if token is None or token == channel.token or not channel.is_joined:
            return
        channel.told_token(token, now)
        payload = {"access_token": token}
        frame = encode(channel.join_ref, self._ref(), channel.wire_topic, "access_token", payload)
        self.push(frame, now)

    def _moved(self, moved: Moved) -> None:
        self.moves.append(moved)

    def _plan(self) -> None:
        channels = self._channels.values()
        dues = [channel.due for channel in channels if channel.state is not State.WAITING]
        if self._may_join and (waiting := self._waiting()):
            first = min(channel.due for channel in waiting)
            dues.append(max(first, self._tenant.join_at))
        dues.append(self.heartbeat.due)
        is_due = self._queued or self._end is not None
        self.deadline = -NEVER if is_due else min(dues)

    def _ref(self) -> str:
        self._last_ref += 1
        return str(self._last_ref)
