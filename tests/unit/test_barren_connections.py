"""When is a connection left on which everything is polite and nothing comes?"""

import pytest

from tests.support.sessions import LEADS, ROOM, Server, session
from worker.errors import ConnectionLost
from worker.realtime.channel import State
from worker.realtime.session import Session
from worker.realtime.timing import Timing

LONG = 2000.0  # seconds


def left_at(its: Session, refusal: str | None = None) -> float | None:
    """
    Answer heartbeats and joins: no changes ever flow, or `leads` is refused.

    Returns when the connection was given up, None if it was not in all that time.
    """
    server, now = Server(its), 0.0
    while now < LONG:
        try:
            sent = server.tick(now)
        except ConnectionLost:
            return now
        if "heartbeat" in sent:
            server.answer_heartbeat(now)
        for topic, channel in its.channels.items():
            if channel.state is not State.JOINING:
                continue
            if topic == "leads" and refusal is not None:
                server.refuse(topic, {"reason": refusal}, now)
            else:
                server.accept(topic, now)
        now = max(now, its.deadline)
    return None


@pytest.mark.parametrize("refusal", [None, "RealtimeRestarting: Realtime is restarting"])
def test_a_connection_on_which_nothing_becomes_ready_is_left(refusal: str | None) -> None:
    at = left_at(session(LEADS), refusal)

    timing = Timing()
    assert at is not None
    assert timing.barren <= at <= timing.barren + timing.heartbeat


def test_a_connection_with_one_channel_that_is_ready_is_kept() -> None:
    assert left_at(session(LEADS, ROOM)) is None


def test_a_connection_that_is_asked_for_what_cannot_be_had_is_kept() -> None:
    """Another connection would be refused the same."""
    assert left_at(session(LEADS), "Unauthorized: You do not have permissions …") is None


def test_a_connection_that_waits_for_a_token_is_kept() -> None:
    its = session(LEADS)
    its.hold("jwt")
    assert left_at(its) is None
