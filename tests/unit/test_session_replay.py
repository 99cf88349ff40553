"""What does a session do so that private broadcasts are complete?"""

from typing import Any

import pytest

from tests.support.sessions import REPLICATION, ROOM, Server, backoff, state
from worker.realtime.channel import State
from worker.realtime.joining import Tenant
from worker.realtime.session import Session
from worker.realtime.timing import Timing
from worker.subscription import Subscription

OFFICE = Subscription("office", broadcast=True, private=True)


def session(*subscriptions: Subscription, since: int | None = 1000) -> Session:
    return Session(
        subscriptions,
        token="jwt",
        now=0.0,
        timing=Timing(pace=0.0, heartbeat=10_000.0),
        tenant=Tenant(),
        backoff=backoff,
        missed_since=lambda topic: since,
    )


def asked(server: Server, topic: str = "office") -> dict[str, Any]:
    """Return what the last join of the topic said of broadcasts."""
    joins = [frame for frame in server.sent if frame[2:4] == [f"realtime:{topic}", "phx_join"]]
    wanted = joins[-1][4]["config"]["broadcast"]
    assert isinstance(wanted, dict)
    return wanted


def established(server: Server, now: float) -> None:
    server.system("office", REPLICATION, now, extension="system")


def test_a_private_topic_is_asked_to_repeat_what_was_missed() -> None:
    server = Server(session(OFFICE, ROOM, since=1_763_800_000_000))

    server.tick(0)
    server.accept("office", 0)
    server.tick(0)

    assert asked(server)["replay"] == {"since": 1_763_800_000_000, "limit": 25}
    assert "replay" not in asked(server, "room"), "a public one would be refused for it"


def test_nothing_missed_is_nothing_to_repeat() -> None:
    server = Server(session(OFFICE, since=None))

    server.tick(0)

    assert "replay" not in asked(server)


@pytest.mark.parametrize("reason", ["Realtime was unable to replay messages", "Replay …"])
def test_a_join_refused_for_its_replay_is_repeated_at_once_without(reason: str) -> None:
    it = session(OFFICE)
    server = Server(it)
    server.tick(0)

    server.refuse("office", {"reason": f"UnableToReplayMessages: {reason}"}, 5)

    assert server.tick(5) == ["phx_join"]
    assert "replay" not in asked(server)
    assert not it.channels["office"].is_doubtful


def test_replay_is_asked_for_again_after_a_trouble_that_passes_and_never_if_it_is_not_known() -> (
    None
):
    for reason, expected in [("Realtime was unable", True), ("Replay params …", False)]:
        server = Server(session(OFFICE))
        server.tick(0)
        server.refuse("office", {"reason": f"UnableToReplayMessages: {reason}"}, 5)
        server.tick(5)
        server.accept("office", 6)
        established(server, 6)
        server.say("phx_close", "office", {}, 7)
        server.tick(20)

        assert ("replay" in asked(server)) is expected


def test_a_private_topic_is_ready_when_the_database_sends_to_it() -> None:
    it = session(OFFICE)
    server = Server(it)
    server.tick(0)
    assert asked(server)["replication_ready"] is True

    server.accept("office", 1)
    assert state(it, "office") is State.JOINED and it.deadline == 66
    established(server, 2)

    assert it.ready


def test_a_server_that_says_nothing_of_replication_is_not_waited_for_twice() -> None:
    two = Subscription("two", broadcast=True, private=True)
    it = session(OFFICE, two)
    server = Server(it)
    server.tick(0)
    server.accept("office", 1)
    server.tick(1)
    server.accept("two", 2)

    server.tick(66)
    server.tick(67)
    assert it.ready
    server.say("phx_close", "office", {}, 70)
    server.tick(80)
    assert "replication_ready" not in asked(server)
    server.accept("office", 80)

    assert it.ready


def test_replication_that_came_once_and_does_not_come_now_is_asked_for_again() -> None:
    it = session(OFFICE)
    server = Server(it)
    server.tick(0)
    server.accept("office", 1)
    established(server, 2)
    server.say("phx_error", "office", {}, 10)
    server.tick(11)
    server.accept("office", 11)

    server.tick(11 + 65)

    assert state(it, "office") is State.WAITING
    assert it.moves[-1].reason == "no replication after the join"


def test_too_many_joins_slow_the_joins_of_all_lines_down_until_health_is_proved() -> None:
    tenant, timing = Tenant(), Timing(pace=0.1, slowest=0.4, heartbeat=25)
    rooms = [Subscription(f"room-{number}", broadcast=True) for number in range(2)]
    it = Session(rooms, token=None, now=0.0, timing=timing, tenant=tenant, backoff=backoff)
    server = Server(it)
    server.tick(0)
    assert tenant.join_at == 0.1
    server.refuse("room-0", {"reason": "ClientJoinRateLimitReached: Too many joins …"}, 0.05)

    server.tick(0.1)
    assert tenant.join_at == pytest.approx(0.3)
    server.accept("room-1", 0.2)
    server.tick(2)
    server.accept("room-0", 2)
    server.tick(25)
    server.answer_heartbeat(25)
    server.say("phx_close", "room-0", {}, 26)
    server.tick(40)

    assert tenant.join_at == pytest.approx(40.1)
