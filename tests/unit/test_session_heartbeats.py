"""Is the server still there, and was the connection good?"""

import pytest

from tests.support.sessions import LEADS, ROOM, Server, session, state
from worker.errors import HeartbeatMissed
from worker.realtime.channel import State
from worker.realtime.protocol import Frame


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


def test_health_is_proved_by_age_although_one_channel_is_never_well() -> None:
    it = session(ROOM, LEADS)
    server = Server(it)
    server.make_ready("room", now=0)
    for now in (25, 50, 75):
        server.tick(now)
        server.answer_heartbeat(now)
        server.refuse("leads", {"reason": "QueryCanceled: …"}, now)
        assert it.healthy is (now >= 60)


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
