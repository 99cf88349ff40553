"""Since when is a doubted gap open, and who may close it?"""

from __future__ import annotations

from structlog.testing import capture_logs

from tests.support.sessions import LEADS, ROOM
from worker.event import Event, Gap
from worker.realtime.channel import Moved, State
from worker.realtime.gaps import Gaps
from worker.realtime.handover import Handover
from worker.realtime.session import Session
from worker.realtime.watch import Watch


class Told:
    """A listener that keeps what it is told of gaps."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, frozenset[str]]] = []

    async def receive(self, event: Event, size: int) -> None: ...

    def gap_opened(self, reason: str, tables: frozenset[str], topics: frozenset[str]) -> None:
        self.opened.append((reason, topics))


def moved(watch: Watch, now: float, *moves: Moved) -> None:
    session = Session([], token=None, now=0.0)
    session.moves.extend(moves)
    watch.moved(session, now)


def ready(topic: str) -> Moved:
    return Moved(topic, State.JOINED, State.READY, "subscribed")


def lost(topic: str) -> Moved:
    return Moved(topic, State.READY, State.WAITING, "no canary beat")


def test_a_gap_that_is_open_begins_earlier_if_it_has_to() -> None:
    gaps = Gaps([LEADS])
    gaps.open(["leads"], "channel lost", 10.0)

    assert gaps.open(["leads"], "no canary beat", 4.0) is None, "there is nothing new to tell"
    gaps.open(["leads"], "no canary beat", 7.0)
    closed = gaps.close("leads", 12.0)
    assert closed is not None
    assert (closed.reason, closed.opened, closed.closed) == ("channel lost", 4.0, 12.0)


def test_a_gap_is_closed_when_the_last_who_holds_it_lets_go() -> None:
    gaps = Gaps([LEADS, ROOM])
    gaps.open(["leads", "room"], "no canary beat", 1.0)
    gaps.hold(["leads"], "changes")
    gaps.hold(["leads", "room"], "broadcast")

    assert gaps.close("leads", 2.0) is None
    assert gaps.let_go("broadcast") == ["room"]
    assert gaps.close("leads", 3.0) is None
    assert gaps.let_go("changes") == ["leads"]
    assert gaps.let_go("changes") == []
    assert gaps.close("leads", 4.0) is not None


def test_a_channel_that_says_it_is_ready_does_not_end_a_doubt() -> None:
    closed: list[bytes | Gap] = []
    told = Told()
    watch = Watch([LEADS, ROOM], told, Handover(), closed.append)
    with capture_logs():
        moved(watch, 1.0, ready("leads"), ready("room"))
        watch.doubt(["leads"], "changes", 5.0, 30.0)
        moved(watch, 30.0, lost("leads"))
        moved(watch, 31.0, ready("leads"))
        assert closed == []
        watch.trust("changes", 40.0)

    (gap,) = closed
    assert isinstance(gap, Gap)
    assert (gap.opened, gap.closed, sorted(gap.topics)) == (5.0, 40.0, ["leads"])
    assert told.opened == [("no canary beat", frozenset({"leads"}))], "caches are emptied at once"


def test_a_doubt_that_ends_leaves_open_what_is_not_ready() -> None:
    closed: list[bytes | Gap] = []
    watch = Watch([LEADS], Told(), Handover(), closed.append)
    with capture_logs():
        moved(watch, 1.0, ready("leads"))
        watch.doubt(["leads"], "changes", 5.0, 30.0)
        moved(watch, 30.0, lost("leads"))
        watch.trust("changes", 40.0)
        assert closed == []
        moved(watch, 41.0, ready("leads"))

    assert [gap.closed for gap in closed if isinstance(gap, Gap)] == [41.0]
