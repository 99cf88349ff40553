"""What state is each channel in, whatever the server says?"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sessions import (
    LEADS,
    REPLICATION,
    ROOM,
    SUBSCRIBED,
    Server,
    backoff,
    session,
    state,
)
from worker.errors import ConnectionLost, FrameError
from worker.realtime.channel import Moved, State
from worker.realtime.protocol import Frame
from worker.realtime.session import Session
from worker.realtime.timing import Timing
from worker.subscription import Subscription

from .test_protocol import JSON


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


def test_a_channel_that_the_server_does_not_know_any_more_is_joined_again() -> None:
    it = session(ROOM)
    server = Server(it)
    server.make_ready("room", now=0)
    it.renew("newer", 9)
    server.tick(9)
    reply = {"status": "error", "response": {"reason": "unmatched topic"}}

    server.say("phx_reply", "room", reply, 10, ref=server.sent[-1][1])

    assert it.moves == [Moved("room", State.READY, State.WAITING, "unmatched topic")]


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
