"""What do the canaries of a line make of what the server says about them?"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import orjson
import pytest
from structlog.testing import capture_logs

from tests.support.sessions import LEADS, ROOM, SUBSCRIBED, Server, session, state
from worker.event import Change, Event
from worker.realtime.canaries.canary import Kind
from worker.realtime.canaries.flock import Flock
from worker.realtime.channel import State
from worker.realtime.handover import Handover
from worker.realtime.heartbeat import NEVER
from worker.realtime.protocol import Frame, decode
from worker.realtime.session import Session
from worker.realtime.watch import Watch

from .test_canary import PATIENCE, hundreds
from .test_watch import Nobody

CHANGES, BROADCAST = "tidemark-canary:changes:me:0", "tidemark-canary:broadcast:me:0"
NOT_PUBLISHED = "Unable to subscribe to changes with given parameters. …"


class Line:
    """A line of leads and room with its canaries, whose server is the test."""

    def __init__(self) -> None:
        self.told: list[tuple[Kind, str | None]] = []
        self.newest: Event | None = None
        self.watch = Watch([LEADS, ROOM], Nobody(), Handover(), None)
        self.canaries = Flock(
            ("changes", "broadcast"),
            name="me:0",
            worker="me",
            patience=PATIENCE,
            pauses=hundreds,
            watch=self.watch,
            newest=lambda: self.newest,
            told=lambda kind, reason: self.told.append((kind, reason)),
            wake=lambda: None,
        )
        self.connect(0.0)

    def connect(self, now: float) -> None:
        watched = {"leads": LEADS, "room": ROOM}
        self.session: Session = session(*self.canaries.connected(watched, now), LEADS, ROOM)
        self.server = Server(self.session)
        self.join(now)

    def join(self, now: float) -> None:
        """Send the joins that are due: one, until the server has accepted one."""
        while "phx_join" in self.server.tick(now):
            pass

    def look(self, now: float) -> None:
        """Have everybody take in what the session has to say."""
        self.canaries.heard(self.session, self.watch.moved(self.session, now), now)

    def make_ready(self, *topics: str, now: float) -> None:
        for topic in topics:
            self.join(now)
            self.server.accept(topic, now)
            if self.session.channels[topic].subscription.bindings:
                self.server.system(topic, SUBSCRIBED, now)
        self.look(now)

    def refuse(self, topic: str, reason: str, now: float) -> None:
        self.join(now)
        self.server.refuse(topic, {"reason": reason}, now)
        self.look(now)

    def echo(self, frame: Frame, now: float) -> None:
        self.session.receive(frame, now)
        self.look(now)

    def asked(self, topic: str) -> int:
        """How often a channel was joined on this connection."""
        return sum(frame[2:4] == [f"realtime:{topic}", "phx_join"] for frame in self.server.sent)

    @property
    def topics(self) -> list[str]:
        return list(self.session.channels)


def change(number: Any) -> Frame:
    data = {"schema": "tidemark", "table": "beats", "type": "UPDATE", "record": {"number": number}}
    return Frame(None, None, f"realtime:{CHANGES}", "postgres_changes", {"ids": [1], "data": data})


def lead() -> Change:
    return Change(id=uuid4(), schema="public", name="leads", kind="INSERT", record={"id": 1})


def broadcasts(number: int) -> list[Any]:
    """What the server makes of a broadcast for sockets of version 2: text, or bytes of kind 4."""
    topic, event = f"realtime:{BROADCAST}".encode(), b"beat"
    inner = {"number": number}
    said = {"type": "broadcast", "event": "beat", "payload": inner}
    text = orjson.dumps([None, None, topic.decode(), "broadcast", said])
    return [text, bytes([4, len(topic), len(event), 0, 1]) + topic + event + orjson.dumps(inner)]


def test_canaries_are_joined_first_and_ask_for_their_own_beats_only() -> None:
    line = Line()
    line.make_ready(CHANGES, BROADCAST, "leads", "room", now=1.0)

    assert line.topics == [CHANGES, BROADCAST, "leads", "room"]
    configs = {frame[2]: frame[4]["config"] for frame in line.server.sent if frame[3] == "phx_join"}
    assert configs[f"realtime:{CHANGES}"]["postgres_changes"] == [
        {"event": "*", "schema": "tidemark", "table": "beats", "filter": "worker=eq.me"}
    ]
    assert configs[f"realtime:{BROADCAST}"]["broadcast"]["self"] is True
    assert configs["realtime:room"]["broadcast"]["self"] is False


@pytest.mark.parametrize("form", [0, 1], ids=["text", "bytes"])
def test_a_broadcast_beat_is_known_in_both_its_forms(form: int) -> None:
    line = Line()
    line.make_ready(CHANGES, BROADCAST, now=1.0)
    line.canaries.begin(line.session, 7, 2.0)
    line.echo(decode(broadcasts(7)[form]), 2.5)

    assert line.told == [("broadcast", None)]


def test_a_beat_is_broadcast_under_the_ref_of_its_channel() -> None:
    line = Line()
    line.make_ready(CHANGES, BROADCAST, now=1.0)
    line.server.say("phx_close", CHANGES, {}, 1.5)
    line.look(1.5)
    is_to_be_written = line.canaries.begin(line.session, 7, 2.0)
    line.server.tick(2.0)
    (sent,) = [frame for frame in line.server.sent if frame[3] == "broadcast"]

    assert not is_to_be_written, "the channel of the changes is not ready"
    assert sent[0] == line.server.join_ref(BROADCAST)
    assert sent[4] == {"type": "broadcast", "event": "beat", "payload": {"number": 7}}


@pytest.mark.parametrize("number", [None, "1", True, 1.0, {"number": 1}, 2])
def test_what_is_no_beat_of_ours_proves_nothing(number: Any) -> None:
    line = Line()
    line.make_ready(CHANGES, now=1.0)
    assert line.canaries.begin(line.session, 1, 2.0)
    line.canaries.written(1, 2.0)
    line.echo(change(number), 2.5)
    line.echo(Frame(None, None, f"realtime:{CHANGES}", "presence_state", {}), 2.5)

    assert line.told == []


def test_a_canary_that_is_not_published_is_said_and_asked_for_again() -> None:
    line = Line()
    line.server.accept(CHANGES, 1.0)
    line.server.system(CHANGES, NOT_PUBLISHED, 1.0, status="error")
    line.look(1.0)
    assert line.told == [("changes", NOT_PUBLISHED)]
    assert line.session.channels[CHANGES].state is State.REFUSED

    line.make_ready(BROADCAST, "leads", "room", now=1.0)
    assert line.session.ready, "a canary that is not wanted keeps nobody from being ready"
    while line.session.channels[CHANGES].state is not State.JOINING:
        now = line.session.deadline
        line.server.tick(now)
        line.server.answer_heartbeat(now)
    line.make_ready(CHANGES, now=now)
    assert line.canaries.birds["changes"].is_flying


def test_a_public_broadcast_that_was_refused_once_is_asked_for_again() -> None:
    """Nobody is forbidden a public topic: it was the server's mistake."""
    line = Line()
    line.make_ready(CHANGES, now=1.0)
    line.refuse(BROADCAST, "Unauthorized: You do not have permissions …", 5.0)
    assert BROADCAST in line.topics

    line.connect(100.0)
    line.make_ready(CHANGES, BROADCAST, now=100.0)
    assert line.canaries.birds["broadcast"].is_flying


def test_a_private_broadcast_that_is_forbidden_is_not_asked_for_again() -> None:
    line = Line()
    line.make_ready(CHANGES, now=1.0)
    line.refuse(BROADCAST, "PrivateOnly: This project only allows private channels", 3.0)
    line.make_ready("leads", "room", now=3.0)
    line.refuse(BROADCAST, "Unauthorized: You do not have permissions …", 5.0)
    assert line.told == [("broadcast", "Unauthorized: You do not have permissions …")]
    assert line.topics == [CHANGES, "leads", "room"]

    line.connect(100.0)
    assert line.topics == [CHANGES, "leads", "room"]
    assert line.canaries.grounded("broadcast", 1000.0) == 0.0


def test_where_only_private_channels_are_allowed_it_joins_again_as_one() -> None:
    line = Line()
    line.make_ready(CHANGES, now=1.0)
    line.refuse(BROADCAST, "PrivateOnly: This project only allows private channels", 5.0)
    line.make_ready("leads", "room", now=5.0)
    line.join(5.0)
    joins = [f for f in line.server.sent if f[2:4] == [f"realtime:{BROADCAST}", "phx_join"]]
    assert [join[4]["config"]["private"] for join in joins] == [False, True]

    line.refuse(BROADCAST, "PrivateOnly: This project only allows private channels", 10.0)
    assert BROADCAST not in line.topics
    assert [kind for kind, _ in line.told] == ["broadcast"]


def test_a_private_broadcast_that_never_comes_is_taken_for_forbidden() -> None:
    """Realtime drops what one may not send, without a word."""
    line = Line()
    line.make_ready(CHANGES, now=1.0)
    line.refuse(BROADCAST, "PrivateOnly: This project only allows private channels", 5.0)
    line.make_ready("leads", "room", BROADCAST, now=5.0)
    bird = line.canaries.birds["broadcast"]
    for number in (1, 2):
        line.canaries.begin(line.session, number, 6.0)
        line.canaries.look(line.session, 0.0, bird.deadline)

    assert line.told == [("broadcast", "no beat ever came: may it be sent?")]
    assert BROADCAST not in line.topics
    assert bird.silent_since is None
    assert state(line.session) is State.READY


@pytest.mark.parametrize(
    "reason", ["QueryCanceled: …", "ChannelRateLimitReached: Too many channels"]
)
def test_a_canary_refused_where_others_are_not_holds_up_the_socket_no_more(reason: str) -> None:
    line = Line()
    line.refuse(CHANGES, reason, 5.0)
    line.make_ready(BROADCAST, "leads", "room", now=5.0)
    line.refuse(CHANGES, reason, 10.0)
    asked = line.asked(CHANGES)
    line.join(250.0)
    assert line.asked(CHANGES) == asked


def test_a_canary_refused_for_a_while_watches_again_on_the_same_connection() -> None:
    """A connection may last for weeks, and nobody else tells when changes stop coming."""
    line = Line()
    line.refuse(CHANGES, "QueryCanceled: …", 5.0)
    line.make_ready(BROADCAST, "leads", "room", now=5.0)
    line.refuse(CHANGES, "QueryCanceled: …", 10.0)
    line.join(311.0)
    line.refuse(CHANGES, "QueryCanceled: …", 320.0)
    line.join(621.0)
    line.make_ready(CHANGES, now=640.0)

    assert line.canaries.birds["changes"].is_flying
    assert [reason for _, reason in line.told] == ["QueryCanceled: …"] * 2


def test_a_canary_that_cannot_get_ready_is_noticed() -> None:
    line = Line()
    assert line.canaries.grounded("changes", 61.0) == 61.0

    line.make_ready(CHANGES, now=10.0)
    assert line.canaries.grounded("changes", 61.0) == 0.0
    line.server.say("phx_close", CHANGES, {}, 20.0)
    line.look(20.0)
    assert line.canaries.grounded("changes", 61.0) == 41.0


def test_what_came_of_a_topic_is_proved_by_the_last_beat_of_this_connection() -> None:
    line = Line()
    assert line.canaries.proved_until("leads") == NEVER
    line.make_ready(CHANGES, BROADCAST, "leads", "room", now=1.0)
    line.canaries.begin(line.session, 1, 5.0)
    line.echo(decode(broadcasts(1)[0]), 6.0)

    assert line.canaries.proved_until("room") == 5.0
    assert line.canaries.proved_until("leads") == 0.0, "no beat of its changes came yet"
    line.canaries.written(1, 6.0)
    line.echo(change(1), 7.0)
    assert line.canaries.proved_until("leads") == 5.0
    line.server.say("phx_close", CHANGES, {}, 8.0)
    line.look(8.0)
    assert line.canaries.proved_until("leads") == 5.0, "what closed it may have closed others"
    line.connect(9.0)
    assert line.canaries.proved_until("leads") == NEVER


@pytest.mark.parametrize(
    ("kind", "goes_on", "is_patient"),
    [("changes", True, True), ("changes", False, False), ("broadcast", True, False)],
)
def test_while_changes_go_on_coming_their_beat_is_late_and_not_missed(
    kind: Kind, goes_on: bool, is_patient: bool
) -> None:
    line = Line()
    line.make_ready(CHANGES, BROADCAST, "leads", "room", now=1.0)
    bird = line.canaries.birds[kind]
    for number in (1, 2):
        line.newest = lead() if goes_on or number == 1 else line.newest
        line.canaries.begin(line.session, number, 2.0)
        if kind == "changes":
            line.canaries.written(number, 2.0)
            line.echo(decode(broadcasts(number)[0]), 2.5)
        line.canaries.look(line.session, 0.0, bird.deadline)

    assert (bird.silent_since is None) is is_patient


def test_a_miss_joins_what_the_canary_stands_for_and_then_ends_the_connection() -> None:
    line = Line()
    line.make_ready(CHANGES, BROADCAST, "leads", "room", now=1.0)
    with capture_logs() as logs:
        for number in (1, 3):
            for later in (0, 1):
                line.canaries.begin(line.session, number + later, 2.0)
                line.canaries.written(number + later, 2.0)
                due = line.canaries.birds["changes"].deadline
                line.echo(decode(broadcasts(number + later)[0]), 2.5)
                line.canaries.look(line.session, 0.0, due)
            line.look(due)
            states = {topic: line.session.channels[topic].state for topic in line.topics}
            line.join(due) if number == 1 else None
            line.make_ready(CHANGES, "leads", now=due) if number == 1 else None

    assert [log["remedy"] for log in logs if log["event"] == "canary.missed"] == [
        "rejoin",
        "reconnect",
    ]
    assert states["room"] is State.READY
    with pytest.raises(Exception, match="no canary beat came back"):
        line.session.tick(due)
