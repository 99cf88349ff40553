"""What is said about channels, gaps and bad frames, and to whom?"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

import structlog

from .. import metrics
from ..errors import ConnectionLost, HandshakeRefused
from ..event import Event, Gap
from ..subscription import Subscription
from .channel import Moved, State
from .events import CARRIERS, PREFIX, Withheld
from .gaps import Gaps, Scope, gap
from .handover import Handover
from .heartbeat import NEVER
from .session import Session

log = structlog.get_logger()

MARGIN = 10.0  # seconds by which the database's clock may be before ours; what is doubled is known
MOST_TOLD = 1000  # a server may find new words without end
BLINK_SAID_EVERY = 60.0  # seconds between two lines on momentary gaps that are alike

_CONNECTION = "the connection"  # what news may be about, beside topics and tables
_DIGITS = re.compile(r"\d+")


def _nothing_proved(topic: str) -> float:
    return NEVER


class Listener(Protocol):
    """Whoever wants the events."""

    async def receive(self, event: Event, size: int) -> None:
        """
        Take one event, in order. May wait: that is the back-pressure.

        `size` is about how many bytes it keeps: at least those of the frame it came in.
        """

    def gap_opened(self, reason: str, tables: frozenset[str], topics: frozenset[str]) -> None:
        """Be told at once that events of these may be missed from now on."""


class Watch:
    """
    Opens and closes gaps as channels lose and find their events, and says so.

    A gap that opens is told to the listener at once; one that closes goes through the
    hand-over, behind the events that came before it.
    """

    def __init__(
        self,
        subscriptions: Sequence[Subscription],
        listener: Listener,
        handover: Handover,
        tap: Callable[[bytes | Gap], None] | None,
    ) -> None:
        self._topics = frozenset(wanted.topic for wanted in subscriptions)
        self._tables = frozenset().union(*(wanted.tables for wanted in subscriptions))
        self._ready: set[str] = set()
        self._gaps = Gaps(subscriptions)
        self._listener = listener
        self._handover = handover
        self._tap = tap
        self._told: OrderedDict[tuple[str, str], None] = OrderedDict()  # said once, not each time
        self._missed_since: dict[str, float] = {}  # unix seconds, of each topic with a gap
        self._blinks: set[tuple[str, Scope]] = set()  # momentary gaps not yet handed on
        self._said_at: dict[tuple[str, Scope], float] = {}  # when the log had the last of a kind

    def start(self, now: float) -> None:
        """Nothing comes yet: each channel has a gap."""
        metrics.channels_ready.set(0)
        self._open(self._topics, "start", now)
        self._missed_since = dict.fromkeys(self._topics, time.time())

    def open(self, topics: Collection[str], reason: str, since: float, now: float) -> None:
        """Nothing comes of these since then: each has a gap, those that had one keep theirs."""
        self._ready.difference_update(topics)
        metrics.channels_ready.set(len(self._ready))
        self._open(topics, reason, since, now)

    def missed_since(self, topic: str) -> int | None:
        """Return the unix milliseconds from which on broadcasts are to be repeated, if any."""
        since = self._missed_since.get(topic)
        return None if since is None else int(since * 1000)

    def moved(
        self, session: Session, now: float, proved: Callable[[str], float] = _nothing_proved
    ) -> list[Moved]:
        """
        Take note of the session's heartbeats, and of its moves, which are returned.

        `proved` says until when everything of a topic is known to have come: its gap begins there.
        """
        if session.heartbeat.round_trip is not None:
            metrics.heartbeat_seconds.observe(session.heartbeat.round_trip)
            session.heartbeat.round_trip = None
        if not session.moves:
            return []
        moves, session.moves = session.moves, []
        for move in moves:
            if move.topic not in self._topics:
                continue  # a canary's: nothing can be missed there
            self._say(move)
            since = min(now, proved(move.topic))
            if move.now is not State.READY:
                if move.before is State.READY:
                    reason = "channel lost" if move.now is State.WAITING else "changes stopped"
                    self._open([move.topic], reason, since, now)
            elif move.before is State.READY:
                self._blink("subscribed again", self._gaps.scope([move.topic]), since, now)
            else:
                self._close(move.topic, now)
            self._count(move)
        metrics.channels_ready.set(len(self._ready))
        return moves

    def doubt(self, topics: Collection[str], holder: str, since: float, now: float) -> None:
        """Nothing proves that events of these came since then: open gaps, and keep them open."""
        self._open(topics, "no canary beat", since, now)
        self._gaps.hold(topics, holder)

    def trust(self, holder: str, now: float) -> None:
        """What this holder doubted comes again: close the gaps of what is ready."""
        for topic in self._gaps.let_go(holder):
            if topic in self._ready:
                self._close(topic, now)

    def suspect(self, topics: Iterable[str], reason: str, since: float, now: float) -> None:
        """Some events of these may be lost since then, and it is over."""
        self._blink(reason, self._gaps.scope(topics), since, now)

    def opened(self, host: str) -> None:
        """Say that there is a connection."""
        metrics.connections_opened.inc()
        self._forget(_CONNECTION)
        log.info("connection.opened", host=host)

    def lost(self, lost: ConnectionLost, host: str, pause: float) -> None:
        """Say why there is no connection, and after how many seconds the next is tried."""
        wait = round(pause, 2)
        if not isinstance(lost, HandshakeRefused):
            log.warning("connection.lost", host=host, reason=str(lost), wait=wait)
            return
        said = {"host": host, "status": lost.status, "reason": lost.reason, "wait": wait}
        if self._is_news(_CONNECTION, str(lost)):
            log.error("connection.refused", **said)
        else:
            log.warning("connection.refused", **said)

    def unreadable(self, kind: str, topic: str | None, event: str | None, now: float) -> None:
        """
        Count a bad frame; an event may have been in it.

        One without topic and event may have been anything; one that carries no event, or is of
        a topic we did not ask for, loses us nothing.
        """
        metrics.frames_unreadable.labels(kind).inc()
        if self._is_news("frame.unreadable", kind):
            log.error("frame.unreadable", kind=kind)
        if topic is None:
            self._blink("frame unreadable", self._gaps.scope(self._topics), now, now)
        elif event in CARRIERS:
            scope = self._gaps.scope([topic.removeprefix(PREFIX)])
            if scope.topics:
                is_change = event == "postgres_changes"
                tables = scope.tables if is_change else frozenset[str]()
                self._blink("frame unreadable", Scope(tables, scope.topics), now, now)

    def withheld(self, change: Withheld, now: float) -> None:
        """A row changed and we cannot know which: what is known of the table may be old."""
        is_ours = change.table in self._tables
        metrics.changes_withheld.labels(change.table if is_ours else "other").inc()
        if self._is_news(change.table, change.error):
            log.error("change.withheld", table=change.table, reason=change.error)
        self._blink("change withheld", Scope(frozenset({change.table}), frozenset()), now, now)

    def handing_on(self, gap: Gap) -> None:
        """What is missed from here on is not covered by this gap any more."""
        self._blinks.discard((gap.reason, Scope(gap.tables, gap.topics)))

    def _count(self, move: Moved) -> None:
        if move.now is State.READY:
            self._ready.add(move.topic)
        else:
            self._ready.discard(move.topic)

    def _say(self, move: Moved) -> None:
        topic, reason = move.topic, move.reason[:200]
        if move.now is State.READY and move.before is not State.READY:
            self._forget(topic)
            log.info("channel.ready", topic=topic)
        elif move.now is State.JOINED and self._is_news(topic, "joined"):
            log.debug("channel.joined", topic=topic)
        elif move.now is State.DEGRADED:
            log.warning("channel.degraded", topic=topic, reason=reason)
        elif move.is_wanted:
            log.debug("channel.left", topic=topic, reason=reason)
        elif move.now is State.WAITING and move.before is not State.REFUSED:
            log.warning("channel.lost", topic=topic, reason=reason)
        elif move.now is State.REFUSED and self._is_news(topic, reason):
            log.error("channel.refused", topic=topic, reason=reason)

    def _open(
        self, topics: Iterable[str], reason: str, since: float, now: float | None = None
    ) -> None:
        scope = self._gaps.open(topics, reason, since)
        if scope is not None:
            began = time.time() - MARGIN - (0.0 if now is None else now - since)
            self._missed_since.update(dict.fromkeys(scope.topics, began))
            metrics.gaps_open.set(len(self._gaps))
            self._tell(reason, scope)

    def _close(self, topic: str, now: float) -> None:
        closed = self._gaps.close(topic, now)
        if closed is not None:
            self._missed_since.pop(topic, None)
            metrics.gaps_open.set(len(self._gaps))
            self._over(closed)

    def _blink(self, reason: str, scope: Scope, since: float, now: float) -> None:
        """Open a gap and close it at once: something was missed and it is over."""
        if (reason, scope) in self._blinks:
            return  # one that was not handed on yet covers this, too
        self._blinks.add((reason, scope))
        is_said = self._is_due((reason, scope), now)
        self._tell(reason, scope, is_said=is_said)
        self._over(gap(reason, scope, since, now), is_said=is_said)

    def _is_due(self, blink: tuple[str, Scope], now: float) -> bool:
        """Each change that is withheld is such a gap, and the log is not to fill the disk."""
        if now - self._said_at.get(blink, -BLINK_SAID_EVERY) < BLINK_SAID_EVERY:
            return False
        self._said_at.pop(blink, None)
        self._said_at[blink] = now
        if len(self._said_at) > MOST_TOLD:
            del self._said_at[next(iter(self._said_at))]
        return True

    def _tell(self, reason: str, scope: Scope, *, is_said: bool = True) -> None:
        tables, topics = sorted(scope.tables), sorted(scope.topics)
        if is_said:
            log.warning("gap.opened", reason=reason, tables=tables, topics=topics)
        self._listener.gap_opened(reason, scope.tables, scope.topics)

    def _over(self, closed: Gap, *, is_said: bool = True) -> None:
        metrics.gaps_closed.labels(closed.reason).inc()
        if is_said:
            log.info(
                "gap.closed",
                reason=closed.reason,
                tables=sorted(closed.tables),
                topics=sorted(closed.topics),
                seconds=round(closed.closed - closed.opened, 3),
            )
        if self._tap is not None:
            self._tap(closed)
        self._handover.put(closed, 0)

    def _forget(self, about: str) -> None:
        for told in [told for told in self._told if told[0] == about]:
            del self._told[told]

    def _is_news(self, about: str, what: str) -> bool:
        what = _DIGITS.sub("0", what)  # `expired 3 seconds ago` is no other news in a second
        if (about, what) in self._told:
            self._told.move_to_end((about, what))
            return False
        self._told[about, what] = None
        if len(self._told) > MOST_TOLD:
            self._told.popitem(last=False)
        return True
