"""What does a session make of a token that is not taken?"""

from __future__ import annotations

import orjson
import pytest

from tests.support.sessions import LEADS, ROOM, Server, session, state
from worker.realtime.channel import State
from worker.subscription import Subscription

EXPIRED = "InvalidJWTToken: Token has expired 3 seconds ago"


@pytest.mark.parametrize(
    "reason",
    [
        EXPIRED,
        "InvalidJWTToken: Fields `role` and `exp` are required in JWT",
        "MalformedJWT: The token provided is not a valid JWT",
        "JwtSignatureError: Failed to validate JWT signature",
        "JwtSignerError: Failed to generate JWT signer for key ID (kid) 7",
    ],
)
def test_a_channel_refused_for_its_token_joins_at_once_with_the_next(reason: str) -> None:
    it = session(LEADS)
    server = Server(it)
    server.tick(0)
    server.refuse("leads", {"reason": reason}, 0)
    assert [move.refuses_token for move in it.moves] == [False, True]
    it.moves.clear()

    it.renew("newer", 0.5)

    assert it.deadline == 0.5
    assert server.tick(0.5) == ["phx_join"]
    assert server.sent[-1][4]["access_token"] == "newer"
    assert not any(move.refuses_token for move in it.moves), "it was said before"


@pytest.mark.parametrize(
    "message",
    [
        "Token has expired 3 seconds ago",
        "Fields `role` and `exp` are required in JWT",
        "The token provided is not a valid JWT",
        "Failed to generate JWT signer for key ID (kid) 7",
    ],
)
def test_a_token_that_ends_a_channel_is_told_of_once(message: str) -> None:
    it = session(ROOM)
    server = Server(it)
    server.make_ready("room", now=0)
    it.moves.clear()

    server.system("room", message, 5, extension="system", status="error")
    server.say("phx_close", "room", {}, 5)

    assert [move.now for move in it.moves] == [State.DEGRADED, State.WAITING]
    assert [move.refuses_token for move in it.moves] == [True, False]
    it.renew("newer", 5.1)
    assert server.tick(5.1) == ["phx_join"]


def test_a_token_that_came_before_the_close_is_joined_with() -> None:
    it = session(ROOM)
    server = Server(it)
    server.make_ready("room", now=0)
    message = "Token has expired 0 seconds ago"
    server.system("room", message, 5, extension="system", status="error")
    it.renew("newer", 5)
    it.moves.clear()

    server.say("phx_close", "room", {}, 5.1)
    server.tick(7)

    assert server.sent[-1][3] == "phx_join"
    assert server.sent[-1][4]["access_token"] == "newer"
    assert not any(move.refuses_token for move in it.moves), "the new one was not refused"


def test_a_channel_refused_for_its_token_comes_to_a_line_that_has_the_next() -> None:
    """Where the token was renewed while the channel was on its way."""
    here, there = session(LEADS), session(ROOM)
    server = Server(here)
    server.tick(0)
    Server(there).make_ready("room", now=0)
    server.refuse("leads", {"reason": "JwtSignatureError: …"}, 0)
    there.renew("newer", 0.5)

    there.admit(here.release("leads", 0.6), 1)

    assert there.deadline <= 1
    assert [frame[2:] for frame in map(orjson.loads, there.tick(1))][-1][0] == "realtime:leads"


def test_a_token_that_is_refused_again_and_again_makes_no_channel_doubtful() -> None:
    it = session(LEADS)
    server = Server(it)
    server.tick(0)
    for attempt in range(3):
        server.refuse("leads", {"reason": "JwtSignatureError: …"}, 0)
        it.renew(f"newer {attempt}", 0)
        assert server.tick(0) == ["phx_join"]

    assert not it.channels["leads"].is_doubtful


def test_nothing_joins_with_a_token_whose_successor_is_on_its_way() -> None:
    it = session(LEADS, ROOM)
    server = Server(it)
    server.make_ready("leads", "room", now=0)
    for topic in ("leads", "room"):
        server.system(topic, "Token has expired", 5, extension="system", status="error")
        server.say("phx_close", topic, {}, 5)

    it.hold("older")
    assert it.deadline == 6, "it is no other token that is held"
    it.hold("jwt")
    assert server.tick(24) == []
    assert it.deadline == 25, "the heartbeat's"
    it.renew("newer", 24)

    assert server.tick(24).count("phx_join") >= 1


def test_a_token_that_comes_a_second_time_ends_the_waiting_too() -> None:
    it = session(LEADS)
    server = Server(it)
    server.tick(0)
    server.refuse("leads", {"reason": EXPIRED}, 0)
    it.hold("jwt")

    it.renew("jwt", 3)

    assert server.tick(3) == ["phx_join"]


def test_what_is_refused_for_other_reasons_is_not_asked_for_again_by_a_new_token() -> None:
    forbidden, busy = Subscription("forbidden", private=True), Subscription("busy")
    it = session(forbidden, busy)
    server = Server(it)
    server.tick(0)
    server.refuse("forbidden", {"reason": "PrivateOnly: This project …"}, 0)
    server.tick(0)
    server.refuse("busy", {"reason": "InitializingProjectConnection: …"}, 0)
    assert not any(move.refuses_token for move in it.moves)

    it.renew("newer", 0.5)

    assert server.tick(0.5) == []
    assert (state(it, "forbidden"), state(it, "busy")) == (State.REFUSED, State.WAITING)
