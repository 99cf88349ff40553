"""When is a channel joined, and what if the server will not have it?"""

from typing import Any

import orjson
import pytest

from tests.support.sessions import DOOR, LEADS, ROOM, SUBSCRIBED, Server, backoff, session, state
from worker.realtime.channel import State
from worker.realtime.session import Session
from worker.realtime.timing import Timing
from worker.subscription import Binding, Subscription


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


def test_on_a_trial_being_accepted_is_all_there_is() -> None:
    it = Session([LEADS, ROOM], token=None, now=0.0, timing=Timing(pace=0.0), is_trial=True)
    server = Server(it)
    server.tick(0)

    server.system("leads", SUBSCRIBED, 1)
    assert state(it) is State.JOINING, "ready it gets where it belongs, and its gap closes there"
    server.accept("leads", 1)
    server.tick(1)
    server.accept("room", 2)

    assert (state(it), state(it, "room")) == (State.JOINED, State.JOINED)


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


def test_no_more_is_kept_of_a_reason_than_somebody_may_read() -> None:
    it = session(LEADS, ROOM)
    server = Server(it)
    server.tick(0)

    server.refuse("leads", {"reason": "x" * 1_000_000}, 5)
    server.make_ready("room", now=5)
    server.system("room", "x" * 1_000_000, 6, extension="system", status="error")

    assert max(len(move.reason) for move in it.moves) <= 1000
