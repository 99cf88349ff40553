"""What do the canaries of one line say, and what is done about it?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import structlog

from ... import metrics
from ...event import Change, Event
from ...subscription import Binding, Subscription
from ..channel import Moved, State
from ..events import PREFIX
from ..heartbeat import NEVER
from ..protocol import Frame, encode
from ..refusals import FULL
from ..session import Session
from ..watch import Watch
from .canary import Canary, Kind, Missed

log = structlog.get_logger()

TOPIC = "tidemark-canary"


class Flock:
    """
    The canaries of one line, which come before its other channels.

    Each stands for the channels that were joined after it: if the server stopped serving one of
    these without a word, it stopped serving the canary, too. `told` hears why the server does
    not let one fly, and None when a beat came; `wake` is called when one wants a beat. `newest`
    returns the event that came last, whatever it was.
    """

    def __init__(
        self,
        kinds: Sequence[Kind],
        *,
        name: str,
        worker: str,
        patience: float,
        pauses: Callable[[], Iterator[float]],
        watch: Watch,
        newest: Callable[[], Event | None],
        told: Callable[[Kind, str | None], None],
        wake: Callable[[], None],
    ) -> None:
        self.birds: dict[Kind, Canary] = {
            kind: Canary(kind, patience=patience, pauses=pauses) for kind in kinds
        }
        self._topics: dict[str, Kind] = {f"{TOPIC}:{kind}:{name}": kind for kind in kinds}
        self._worker = worker
        self._pauses = pauses
        self._watch = watch
        self._told = told
        self._newest = newest
        self._seen: Event | None = None  # the newest event when a beat was late
        self._wake = wake
        self._is_private = False
        self._unwanted: set[Kind] = set()
        self._proved: set[Kind] = set()  # a beat of the kind came once
        self._excused = 0.0  # seconds in which the line read nothing, so far
        self._watched: Mapping[str, Subscription] = {}

    # A connection

    def connected(self, watched: Mapping[str, Subscription], now: float) -> list[Subscription]:
        """Return the channels to join before these; they are to be known as they change."""
        self._watched = watched
        for bird in self.birds.values():
            bird.connected(now)
        return [self._subscription(topic) for topic, kind in self._topics.items() if self._is(kind)]

    def missing(self, session: Session) -> list[Subscription]:
        """
        Return what is to be joined now that the line watches more than when it was connected.

        A table's channel that comes back from a trial may be the first on its line.
        """
        return [
            self._subscription(topic)
            for topic, kind in self._topics.items()
            if self._is(kind) and topic not in session.channels
        ]

    def lost(self, now: float) -> None:
        """The connection is no more; with it go doubts about channels that are not ours now."""
        for kind, bird in self.birds.items():
            bird.stops(now)
            if not self._concerned(kind):
                self.excused(kind, now)

    def grounded(self, kind: Kind, now: float) -> float:
        """Return for how many seconds one of this kind cannot fly, though it is to."""
        bird = self.birds[kind]
        return 0.0 if bird.is_flying or not self._is(kind) else now - bird.grounded_since

    def proved_until(self, topic: str) -> float:
        """
        Return until when everything of this topic is known to have come; NEVER if nothing tells.

        Between the last beat and what ends the channel, changes may have stopped without a word.
        """
        birds = [bird for kind, bird in self.birds.items() if topic in self._concerned(kind)]
        return min([bird.proved_until for bird in birds], default=NEVER)

    def _is(self, kind: Kind) -> bool:
        """Say whether one of this kind has something to watch, and may."""
        return kind not in self._unwanted and bool(self._concerned(kind))

    def _subscription(self, topic: str) -> Subscription:
        if self._topics[topic] == "changes":
            row = Binding("tidemark", "beats", filter=f"worker=eq.{self._worker}")
            return Subscription(topic, (row,), canary=True)
        return Subscription(topic, broadcast=True, private=self._is_private, canary=True)

    def _topic(self, kind: Kind) -> str:
        return next(topic for topic, other in self._topics.items() if other == kind)

    def _concerned(self, kind: Kind) -> list[str]:
        """Topics that a canary of this kind stands for."""
        watched = self._watched.values()
        return [one.topic for one in watched if one.bindings or kind == "broadcast"]

    # What the server says

    def heard(self, session: Session, moves: Sequence[Moved], now: float) -> list[Moved]:
        """Take what is ours of what the session has to say; return the moves of the others."""
        echoes, session.echoes = session.echoes, []
        for frame in echoes:
            topic = frame.topic.removeprefix(PREFIX)
            number = _number(frame)
            if topic in self._topics and number is not None:
                self._came(topic, number, now)
        for move in moves:
            if move.topic in self._topics:
                self._moved(session, move, now)
        return [move for move in moves if move.topic not in self._topics]

    def _came(self, topic: str, number: int, now: float) -> None:
        kind = self._topics[topic]
        came = self.birds[kind].came(number, now)
        if came is None:
            return
        metrics.canary_seconds.labels(kind).observe(came.seconds)
        self._told(kind, None)
        self._proved.add(kind)
        if came.silent is not None:
            log.info("canary.back", kind=kind, seconds=round(came.silent, 1))
            self._watch.trust(topic, now)
        elif came.lost_since is not None:
            self._watch.suspect(self._concerned(kind), "canary beat lost", came.lost_since, now)

    def _moved(self, session: Session, move: Moved, now: float) -> None:
        kind = self._topics[move.topic]
        bird = self.birds[kind]
        if move.now is State.READY:
            bird.flies()
            self._wake()
            if kind == "changes":
                self._join_older_again(session, move.topic, now)
            return
        bird.stops(now)
        if move.before is State.JOINING and move.now in (State.WAITING, State.REFUSED):
            self._refused(session, move.topic, move.reason, now)
        elif move.now is State.REFUSED and move.before is not State.WAITING:
            self._give_up(move.topic, move.reason, now)

    def _join_older_again(self, session: Session, topic: str, now: float) -> None:
        """
        A canary that had to join again by itself proves nothing for channels older than it: the
        server may have stopped serving these in the meantime.
        """
        channels = session.channels
        concerned = [channels[other] for other in self._concerned("changes") if other in channels]
        older = [
            one for one in concerned if one.state is State.READY and channels[topic].is_behind(one)
        ]
        if older:
            since = self.birds["changes"].trusted_until
            topics = [channel.subscription.topic for channel in older]
            self._watch.open(topics, "canary joined again", since, now)
            session.rejoin(now, "canary joined again", changes_only=True)

    def _refused(self, session: Session, topic: str, reason: str, now: float) -> None:
        """A refused join holds up the whole socket: where only ours is, it is asked seldom."""
        kind = self._topics[topic]
        if reason.startswith("PrivateOnly") and kind == "broadcast" and not self._is_private:
            self._is_private = True
            session.release(topic, now)
            private = self._subscription(topic)
            session.add(private, now)
            return
        others = [one for one in session.channels.values() if not one.subscription.canary]
        # A public topic is for everybody: who is not let in there is asked again like others.
        is_ours = self._is_private and kind == "broadcast"
        is_meant = is_ours and reason.startswith(("PrivateOnly", "Unauthorized"))
        is_doubtful = session.channels[topic].is_doubtful or reason.startswith(FULL)
        if is_meant:
            self._unwanted.add(kind)
            session.release(topic, now)
            self._give_up(topic, reason, now)
        elif is_doubtful and any(one.state is State.READY for one in others):
            session.put_off(topic, now)
            self._give_up(topic, reason, now)

    def _give_up(self, topic: str, reason: str, now: float) -> None:
        kind = self._topics[topic]
        self.excused(kind, now)
        self._told(kind, reason[:200])

    # Beats

    def excused(self, kind: Kind, now: float) -> None:
        """No beat of this kind can come, and that is nobody's fault."""
        if kind in self.birds:
            self.birds[kind].excused()
            self._watch.trust(self._topic(kind), now)

    def begin(self, session: Session, number: int, now: float) -> bool:
        """Begin a beat: broadcast it. Say whether it is to be written, too."""
        for kind, bird in self.birds.items():
            bird.begun(number, now)
            if kind == "broadcast" and bird.is_flying:
                topic = self._topic(kind)
                join_ref = session.channels[topic].join_ref
                beat = {"type": "broadcast", "event": "beat", "payload": {"number": number}}
                frame = encode(join_ref, f"beat-{number}", PREFIX + topic, "broadcast", beat)
                session.push(frame, now)
                bird.sent(number, now)
        return "changes" in self.birds and self.birds["changes"].is_flying

    def written(self, number: int, now: float) -> None:
        """The database has taken the beat."""
        if "changes" in self.birds:
            self.birds["changes"].sent(number, now)

    def unwritten(self, number: int) -> None:
        """The database has not, as far as we know."""
        if "changes" in self.birds:
            self.birds["changes"].failed(number)

    def look(self, session: Session, unread: float, now: float) -> bool:
        """
        Do something about beats that did not come; say whether something was done.

        `unread` is how many seconds, in all, the line has read nothing for want of room.
        """
        acted = False
        for topic, kind in self._topics.items():
            bird = self.birds[kind]
            bird.excuse(unread - self._excused)
            is_due = now >= bird.deadline
            missed = bird.look(now, is_behind=is_due and kind == "changes" and self._goes_on())
            if missed is not None:
                self._act(session, topic, missed, now)
                acted = True
        self._excused = unread
        return acted

    def _goes_on(self) -> bool:
        """Say whether changes came since this was asked last: the server may only be behind."""
        seen, self._seen = self._seen, self._newest()
        return isinstance(self._seen, Change) and self._seen is not seen

    def _act(self, session: Session, topic: str, missed: Missed, now: float) -> None:
        kind = self._topics[topic]
        if kind == "broadcast" and self._is_private and kind not in self._proved:
            self._unwanted.add(kind)  # who may not send to a private topic is not told
            session.release(topic, now)
            self._give_up(topic, "no beat ever came: may it be sent?", now)
            return
        metrics.canary_missed.labels(kind, missed.remedy).inc()
        seconds = round(now - missed.since, 1)
        log.warning("canary.missed", kind=kind, seconds=seconds, remedy=missed.remedy)
        self._watch.doubt(self._concerned(kind), topic, missed.since, now)
        if missed.remedy == "rejoin":
            session.rejoin(now, "no canary beat", changes_only=kind == "changes")
        else:
            session.end("no canary beat came back")


def _number(frame: Frame) -> int | None:
    """Return the number of the beat in it; None where there is none."""
    try:
        if frame.event == "postgres_changes":
            number = frame.payload["data"]["record"]["number"]
        else:
            number = frame.payload["payload"]["number"]
    except (KeyError, TypeError):
        return None
    return number if type(number) is int else None
