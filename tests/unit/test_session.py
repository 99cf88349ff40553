"""Which frame is due, and what state is each channel in?"""

from collections.abc import Iterator
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import ConnectionLost, FrameError, HeartbeatMissed
from worker.realtime.channel import Moved, State, Timing
from worker.realtime.protocol import Frame
from worker.realtime.session import Session
from worker.subscription import Binding, Subscription

from .test_protocol import JSON

LEADS = Subscription("leads", (Binding("public", "leads"),))
ROOM = Subscription("room", broadcast=True)
DOOR = Subscription("door", broadcast=True)  # once it is accepted, several may join at a time
SUBSCRIBED = "Subscribed to PostgreSQL"
REPLICATION = "Replication connection established"


def backoff() -> Iterator[float]:
    """1, 2, 3 …: waits a test can count."""
    return (float(number) for number in count(1))


def session(*subscriptions: Subscription, **timing: float) -> Session:
    return Session(
        subscriptions, token="jwt", now=0.0, timing=Timing(pace=0.0, **timing), backoff=backoff
    )


class Server:
    """Says to the session what a Realtime server would, and keeps what it was sent."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.sent: list[list[Any]] = []

    def tick(self, now: float) -> list[str]:
        """Pass the time; return the events of the frames that were due."""
        frames = [orjson.loads(text) for text in self.session.tick(now)]
        self.sent += frames
        return [frame[3] for frame in frames]

    def say(
        self, event: str, topic: str, payload: Any, now: float, *, join: Any = "", ref: Any = None
    ) -> None:
        join_ref = self.join_ref(topic) if join == "" else join
        self.session.receive(Frame(join_ref, ref, f"realtime:{topic}", event, payload), now)

    def join_ref(self, topic: str, place: int = -1) -> str:
        joins = [frame for frame in self.sent if frame[2:4] == [f"realtime:{topic}", "phx_join"]]
        ref = joins[place][1]
        assert isinstance(ref, str)
        return ref

    def accept(self, topic: str, now: float, place: int = -1) -> None:
        ref = self.join_ref(topic, place)
        reply = {"status": "ok", "response": {"postgres_changes": []}}
        self.say("phx_reply", topic, reply, now, join=ref, ref=ref)

    def refuse(self, topic: str, response: Any, now: float) -> None:
        ref = self.join_ref(topic)
        reply = {"status": "error", "response": response}
        self.say("phx_reply", topic, reply, now, join=ref, ref=ref)

    def system(self, topic: str, message: str, now: float, **differences: Any) -> None:
        payload = {"extension": "postgres_changes", "status": "ok", "message": message}
        self.say("system", topic, {**payload, **differences}, now)

    def answer_heartbeat(self, now: float) -> None:
        ref = next(frame[1] for frame in reversed(self.sent) if frame[3] == "heartbeat")
        reply = {"status": "ok", "response": {}}
        self.session.receive(Frame(None, ref, "phoenix", "phx_reply", reply), now)

    def make_ready(self, *topics: str, now: float) -> None:
        for topic in topics:
            self.tick(now)
            self.accept(topic, now)
            if self.session.channels[topic].subscription.bindings:
                self.system(topic, SUBSCRIBED, now)
        self.session.moves.clear()


def state(session: Session, topic: str = "leads") -> State:
    return session.channels[topic].state


def test_a_join_asks_for_what_the_routes_want() -> None:
    wanted = Subscription(
        "leads", (Binding("public", "leads", "INSERT", "id=eq.1"),), presence=True, private=True
    )
    server = Server(session(wanted))

    server.tick(0)

    join_ref, ref, topic, event, payload = server.sent[0]
    assert (topic, event) == ("realtime:leads", "phx_join")
    assert join_ref == ref, "a close of this channel will carry it"
    assert payload["access_token"] == "jwt"
    assert payload["config"]["private"] is True
    assert payload["config"]["presence"]["enabled"] is True
    assert payload["config"]["postgres_changes"] == [
        {"event": "INSERT", "schema": "public", "table": "leads", "filter": "id=eq.1"}
    ]


def test_a_channel_is_ready_when_changes_flow_and_not_when_the_join_is_answered() -> None:
    it = session(LEADS)
    server = Server(it)

    server.tick(0)
    server.accept("leads", 1)
    assert state(it) is State.JOINED and not it.ready

    server.system("leads", SUBSCRIBED, 3)
    assert state(it) is State.READY and it.ready


def test_a_channel_without_changes_is_ready_when_joined() -> None:
    it = session(ROOM)
    server = Server(it)

    server.tick(0)
    server.accept("room", 1)

    assert it.ready


def test_a_silent_server_is_given_up_at_the_deadline() -> None:
    it = session(ROOM)
    server = Server(it)
    server.make_ready("room", now=0)

    assert it.deadline == 25
    assert server.tick(25) == ["heartbeat"]
    assert it.deadline == 45
    with pytest.raises(HeartbeatMissed):
        it.tick(45)


def test_any_frame_counts_as_life() -> None:
    it = session(ROOM)
    server = Server(it)
    server.make_ready("room", now=0)
    server.tick(25)

    it.heartbeat.heard = True  # what the link does for each frame it reads

    assert server.tick(45) == []
    assert it.healthy, "what was heard after a heartbeat proves it"
    assert server.tick(50) == ["heartbeat"]
    assert it.heartbeat.round_trip is None, "nobody answered it"


def test_the_answer_to_a_heartbeat_is_matched_by_its_ref() -> None:
    it = session(ROOM)
    server = Server(it)
    server.make_ready("room", now=0)
    server.tick(25)

    it.receive(Frame(None, "999", "phoenix", "phx_reply", {"status": "ok"}), 25.1)
    assert it.heartbeat.round_trip is None
    server.answer_heartbeat(25.5)

    assert it.heartbeat.round_trip == 0.5


def test_health_is_proved_by_an_answer_and_not_by_being_accepted() -> None:
    it = session(ROOM)
    server = Server(it)
    server.make_ready("room", now=0)
    assert not it.healthy

    server.tick(25)
    assert not it.healthy
    server.answer_heartbeat(25.5)

    assert it.healthy


def test_answers_prove_no_health_while_a_channel_is_not_ready() -> None:
    it = session(LEADS)
    server = Server(it)
    server.tick(0)
    server.accept("leads", 0)
    server.tick(25)

    server.answer_heartbeat(25.5)

    assert not it.healthy


def test_answers_nobody_read_are_not_missed() -> None:
    it = session(LEADS)
    server = Server(it)
    server.tick(0)
    server.accept("leads", 10)
    assert server.tick(25) == ["heartbeat"]

    it.excuse(50)  # the reader had to wait until now
    assert it.beat(50) != [], "the server still hears from us"
    it.excuse(60)

    assert server.tick(60) == []
    assert state(it) is State.JOINED, "that changes flow may have been said, too"
    assert it.deadline > 60


def test_a_stuck_join_is_tried_again_after_a_wait() -> None:
    it = session(LEADS)
    server = Server(it)
    server.tick(0)

    assert it.deadline == 20
    server.tick(20)
    assert state(it) is State.WAITING
    assert it.deadline == 21
    assert server.tick(21) == ["phx_join"]


def test_a_join_answered_late_is_not_taken_for_the_one_after_it() -> None:
    it = session(LEADS)
    server = Server(it)
    server.tick(0)
    server.tick(20)
    server.tick(21)

    server.accept("leads", 22, place=0)
    assert state(it) is State.JOINING
    server.accept("leads", 22, place=1)
    assert state(it) is State.JOINED


def test_joins_are_answered_one_by_one_and_each_answer_gives_the_others_time() -> None:
    it = session(DOOR, ROOM, LEADS)
    server = Server(it)
    server.make_ready("door", now=0)
    assert server.tick(0) == ["phx_join", "phx_join"]

    server.accept("room", 15)

    assert it.channels["leads"].due == 35


def test_an_answer_gives_no_more_time_to_the_joins_before_it() -> None:
    """Or a channel that is refused again and again would keep one nobody answers from its end."""
    it = session(DOOR, LEADS, ROOM)
    server = Server(it)
    server.make_ready("door", now=0)
    server.tick(0)

    server.accept("room", 15)

    assert it.channels["leads"].due == 20


def test_where_all_are_refused_the_server_has_one_join_at_a_time() -> None:
    """Each holds up the whole socket for five seconds, in which nothing else is answered."""
    rooms = [Subscription(f"room-{number}", broadcast=True) for number in range(10)]
    it = session(*rooms, heartbeat=10_000)
    server = Server(it)
    asked: list[str] = []
    for now in range(0, 100, 5):
        assert server.tick(now) == ["phx_join"]
        asked.append(server.sent[-1][2].removeprefix("realtime:"))
        server.refuse(asked[-1], {"reason": "RealtimeRestarting: …"}, now)

    assert set(asked[:10]) == set(it.channels), "each has its turn"


def test_where_they_are_accepted_the_server_has_a_few_at_a_time() -> None:
    rooms = [Subscription(f"room-{number}", broadcast=True) for number in range(10)]
    it = session(*rooms)
    server = Server(it)
    server.make_ready("room-0", now=0)

    assert server.tick(0) == ["phx_join"] * 4
    server.accept("room-1", 0)
    assert server.tick(0) == ["phx_join"]
    server.refuse("room-2", {"reason": "QueryCanceled: …"}, 0)
    assert server.tick(0) == []


@pytest.mark.parametrize("status", ["degraded", "refused"])
def test_what_the_server_says_again_and_again_moves_no_deadline(status: str) -> None:
    message = "Unable to subscribe to changes with given parameters" if status == "refused" else ""
    it = session(LEADS, heartbeat=10_000)
    server = Server(it)
    server.make_ready("leads", now=0)
    for now in range(0, 60, 10):
        server.system("leads", message, now, status="error")
        server.tick(now)

    assert it.deadline == 60
    assert len(it.moves) == 1


def test_health_is_proved_by_age_although_one_channel_is_never_well() -> None:
    it = session(ROOM, LEADS)
    server = Server(it)
    server.make_ready("room", now=0)
    for now in (25, 50, 75):
        server.tick(now)
        server.answer_heartbeat(now)
        server.refuse("leads", {"reason": "QueryCanceled: …"}, now)
        assert it.healthy is (now >= 60)


def test_joins_keep_their_pace() -> None:
    topics = [Subscription(f"room-{number}", broadcast=True) for number in range(5)]
    it = Session(topics, token=None, now=0.0, timing=Timing(pace=0.5), backoff=backoff)
    joined: list[float] = []

    server = Server(it)
    while len(joined) < 5:
        now = it.deadline
        joined += [now for _ in server.tick(now)]
        server.accept(f"room-{len(joined) - 1}", now)

    assert joined == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_a_key_that_is_no_token_is_not_sent_as_one() -> None:
    it = Session([ROOM], token=None, now=0.0)

    assert "access_token" not in orjson.loads(it.tick(0)[0])[4]


def test_a_joined_channel_without_changes_is_joined_again() -> None:
    it = session(LEADS)
    server = Server(it)
    server.tick(0)
    server.accept("leads", 0)

    server.tick(30)

    assert it.moves[-1] == Moved("leads", State.JOINED, State.WAITING, "no changes after the join")
    assert server.tick(31) == ["phx_join"]


def test_a_stale_close_does_not_close_the_channel_after_it() -> None:
    it = session(ROOM)
    server = Server(it)
    server.make_ready("room", now=0)
    old = server.join_ref("room")
    server.say("phx_error", "room", {}, 10, join=old, ref=old)
    server.make_ready("room", now=11)

    for event in ("phx_close", "phx_error"):
        server.say(event, "room", {}, 11, join=old, ref=old)

    assert state(it, "room") is State.READY
    assert it.moves == []


@pytest.mark.parametrize("event", ["phx_close", "phx_error"])
def test_a_channel_the_server_shut_is_joined_again(event: str) -> None:
    it = session(ROOM)
    server = Server(it)
    server.make_ready("room", now=0)

    server.say(event, "room", {}, 10)

    assert it.moves == [Moved("room", State.READY, State.WAITING, event)]
    assert server.tick(11) == ["phx_join"]
    assert server.join_ref("room", 0) != server.join_ref("room", 1)


def test_a_channel_that_is_shut_again_and_again_waits_longer_each_time() -> None:
    it = session(ROOM)
    server = Server(it)
    now, waits = 0.0, []
    for _ in range(4):
        server.make_ready("room", now=now)
        server.say("phx_close", "room", {}, now)
        waits.append(it.deadline - now)
        now = it.deadline

    assert waits == [1, 2, 3, 4]


def test_a_channel_that_was_ready_for_long_starts_its_waits_over() -> None:
    it = session(ROOM)
    server = Server(it)
    server.make_ready("room", now=0)
    server.say("phx_close", "room", {}, 0)
    server.make_ready("room", now=1)

    it.heartbeat.heard = True
    server.say("phx_close", "room", {}, 61)

    assert it.channels["room"].due == 62


def test_a_fatal_message_is_the_reason_of_the_close_behind_it() -> None:
    it = session(ROOM)
    server = Server(it)
    server.make_ready("room", now=0)

    server.system("room", "Too many messages per second", 5, extension="system", status="error")
    assert state(it, "room") is State.DEGRADED
    server.say("phx_close", "room", {}, 5)

    assert it.moves[-1].reason == "Too many messages per second"
    assert state(it, "room") is State.WAITING


def test_a_fatal_message_without_its_close_has_a_deadline() -> None:
    it = session(ROOM)
    server = Server(it)
    server.make_ready("room", now=0)
    server.system("room", "Token has expired 3 seconds ago", 5, extension="system", status="error")

    server.tick(15)

    assert state(it, "room") is State.WAITING


def test_an_error_the_server_mends_itself_is_waited_for() -> None:
    it = session(LEADS)
    server = Server(it)
    server.make_ready("leads", now=0)

    server.system("leads", '{:error, "Too many database timeouts"}', 5, status="error")
    assert state(it) is State.DEGRADED
    server.system("leads", SUBSCRIBED, 12)

    assert state(it) is State.READY


def test_tables_the_server_does_not_watch_are_asked_for_again_in_a_minute() -> None:
    it = session(LEADS, heartbeat=10_000)
    server = Server(it)
    server.tick(0)
    server.accept("leads", 0)

    message = "Unable to subscribe to changes with given parameters. Please check …"
    server.system("leads", message, 1, status="error")

    assert it.moves[-1] == Moved("leads", State.JOINED, State.REFUSED, message)
    assert it.deadline == 61


def test_a_join_refused_for_good_is_asked_again_seldom() -> None:
    it = session(LEADS, heartbeat=10_000)
    server = Server(it)
    server.tick(0)

    server.refuse("leads", {"reason": "Unauthorized: You do not have permissions …"}, 5)

    assert state(it) is State.REFUSED
    assert it.deadline == 305


def test_where_only_private_channels_are_allowed_those_of_tables_are_private() -> None:
    other = Subscription("other", (Binding("public", "other"),))
    it = session(LEADS, other, ROOM)
    server = Server(it)
    refusal = {"reason": "PrivateOnly: This project only allows private channels"}
    server.tick(0)
    server.refuse("leads", refusal, 5)
    server.make_ready("other", now=5)
    server.tick(5)
    server.refuse("room", refusal, 9)

    joins = [(frame[2], frame[4]["config"]["private"]) for frame in server.sent]
    assert joins[:2] == [("realtime:leads", False), ("realtime:other", True)]
    assert ("realtime:leads", True) in joins
    assert state(it, "room") is State.REFUSED, "whether a topic is private is not ours to say"


@pytest.mark.parametrize(
    "response",
    [{"reason": "InitializingProjectConnection: …"}, "payload_size_exceeded", {}, None],
)
def test_a_join_refused_for_now_is_asked_again_soon(response: Any) -> None:
    it = session(LEADS)
    server = Server(it)
    server.tick(0)

    server.refuse("leads", response, 5)

    assert state(it) is State.WAITING
    assert it.deadline == 6


def test_a_refused_channel_does_not_hide_the_health_of_the_others() -> None:
    it = session(LEADS, ROOM)
    server = Server(it)
    server.tick(0)
    server.refuse("leads", {"reason": "Unauthorized: …"}, 0)
    server.tick(0)
    server.accept("room", 0)
    server.tick(25)

    server.answer_heartbeat(25.5)

    assert it.healthy and not it.ready


def test_a_repeated_subscription_is_reported() -> None:
    it = session(LEADS)
    server = Server(it)
    server.make_ready("leads", now=0)

    server.system("leads", SUBSCRIBED, 60)

    assert it.moves == [Moved("leads", State.READY, State.READY, "subscribed")]


def test_what_the_channel_before_said_is_not_taken_for_the_one_being_joined() -> None:
    it = session(LEADS)
    server = Server(it)
    server.make_ready("leads", now=0)
    old = server.join_ref("leads")
    server.say("phx_close", "leads", {}, 1)
    server.tick(2)
    payload = {"extension": "postgres_changes", "status": "ok", "message": SUBSCRIBED}

    server.say("system", "leads", payload, 2, join=old)
    server.say("system", "leads", payload, 2, join=None)

    assert state(it) is State.JOINING


def test_that_changes_flow_may_be_said_before_the_join_is_answered() -> None:
    it = session(LEADS)
    server = Server(it)
    server.tick(0)

    server.system("leads", SUBSCRIBED, 1)
    server.accept("leads", 1)

    assert state(it) is State.READY


def test_a_server_that_asks_us_to_go_is_left() -> None:
    it = session(LEADS)
    payload = {"extension": "system", "status": "ok", "message": "Server requested disconnect"}

    with pytest.raises(ConnectionLost):
        it.receive(Frame(None, None, "phoenix", "system", payload), 1)


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (Frame(None, None, "realtime:leads", "surprise", {}), "unknown event"),
        (Frame(None, None, "realtime:other", "phx_close", {}), "unknown topic"),
        (Frame(None, None, "realtime:other", "system", {}), "unknown topic"),
        (Frame(None, None, "realtime:leads", "phx_reply", b"bytes"), "wrong types"),
    ],
)
def test_a_frame_that_means_nothing_to_us_is_named_and_changes_nothing(
    frame: Frame, kind: str
) -> None:
    it = session(LEADS)
    Server(it).make_ready("leads", now=0)

    with pytest.raises(FrameError) as caught:
        it.receive(frame, 1)

    assert caught.value.kind == kind
    assert it.ready


STEPS = st.one_of(
    st.floats(0, 40).map(lambda seconds: ("pass", seconds)),
    st.tuples(
        st.sampled_from(["phx_reply", "phx_close", "phx_error", "system", "surprise"]),
        st.sampled_from(["realtime:leads", "realtime:room", "realtime:office", "phoenix", ""]),
        st.none() | st.sampled_from([str(number) for number in range(1, 9)]),
        st.none() | st.sampled_from([str(number) for number in range(1, 9)]),
        st.sampled_from(
            [
                {},
                {"status": "ok", "response": {}},
                {"status": "error", "response": {"reason": "Unauthorized: …"}},
                {"extension": "postgres_changes", "status": "ok", "message": SUBSCRIBED},
                {"extension": "postgres_changes", "status": "error", "message": "x"},
                {"extension": "system", "status": "error", "message": "Token has expired"},
                {"extension": "system", "status": "ok", "message": REPLICATION},
                {"status": "error", "response": {"reason": "UnableToReplayMessages: …"}},
            ]
        )
        | JSON,
    ),
)


@given(st.lists(STEPS, max_size=40), st.booleans())
def test_no_state_is_without_a_deadline_whatever_the_server_says(
    steps: list[Any], is_trial: bool
) -> None:
    it = Session(
        [LEADS, ROOM, Subscription("office", broadcast=True, private=True)],
        token="jwt",
        now=0.0,
        timing=Timing(pace=0.0),
        backoff=backoff,
        missed_since=lambda topic: 1000,
        is_trial=is_trial,
    )
    now = 0.0
    for step in steps:
        try:
            if step[0] == "pass":
                now += step[1]
                it.tick(now)
            else:
                event, topic, join_ref, ref, payload = step
                it.receive(Frame(join_ref, ref, topic, event, payload), now)
        except FrameError:
            pass
        except ConnectionLost:
            return
        if step[0] == "pass":
            assert it.deadline > now, "a tick does all that is due"
        for channel in it.channels.values():
            assert channel.state is State.READY or channel.due < float("inf")
            assert not (is_trial and channel.state is State.READY)
