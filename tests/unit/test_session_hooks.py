"""What can others ask of a session while it runs?"""

from tests.support.sessions import LEADS, ROOM, SUBSCRIBED, Server, backoff, session, state
from worker.realtime.channel import Moved, State
from worker.realtime.joining import Tenant
from worker.realtime.session import Session
from worker.realtime.timing import Timing
from worker.subscription import Subscription


def test_a_new_token_is_told_to_each_joined_channel_and_used_for_later_joins() -> None:
    it = session(LEADS, ROOM)
    server = Server(it)
    server.make_ready("leads", "room", now=0)

    it.renew("newer", 5)
    assert it.deadline <= 5
    assert server.tick(5) == ["access_token", "access_token"]
    told = [frame for frame in server.sent if frame[3] == "access_token"]
    server.say("phx_close", "room", {}, 6)
    server.tick(7)

    assert [frame[2] for frame in told] == ["realtime:leads", "realtime:room"]
    assert [frame[0] for frame in told] == [server.join_ref("leads"), server.join_ref("room", 0)]
    assert all(frame[4] == {"access_token": "newer"} for frame in told)
    assert server.sent[-1][4]["access_token"] == "newer"


def test_the_subscription_that_a_new_token_repeats_is_no_gap_and_the_next_one_is() -> None:
    it = session(LEADS)
    server = Server(it)
    server.make_ready("leads", now=0)
    it.renew("newer", 5)
    server.tick(5)

    server.system("leads", SUBSCRIBED, 8)
    assert it.moves == []
    server.system("leads", SUBSCRIBED, 9)

    assert it.moves == [Moved("leads", State.READY, State.READY, "subscribed")]


def test_a_repeat_long_after_the_new_token_is_a_gap() -> None:
    it = session(LEADS)
    server = Server(it)
    server.make_ready("leads", now=0)
    it.renew("newer", 5)

    server.system("leads", SUBSCRIBED, 36)

    assert len(it.moves) == 1


def test_a_channel_joined_with_the_older_token_is_told_the_newer_one() -> None:
    it = session(LEADS)
    server = Server(it)
    server.tick(0)

    it.renew("newer", 1)
    assert server.tick(1) == [], "nothing is joined yet"
    server.accept("leads", 2)

    assert server.tick(2) == ["access_token"]


def test_the_same_token_is_not_told_again() -> None:
    it = session(LEADS)
    server = Server(it)
    server.make_ready("leads", now=0)

    it.renew("jwt", 5)
    it.renew(None, 6)

    assert server.tick(7) == []


def test_a_forced_rejoin_joins_what_is_joined_at_once() -> None:
    missing = Subscription("missing", broadcast=True)
    it = session(LEADS, ROOM, missing)
    server = Server(it)
    server.make_ready("leads", "room", now=0)
    server.tick(0)
    server.refuse("missing", {"reason": "Unauthorized: …"}, 0)
    server.tick(0)
    it.moves.clear()

    it.rejoin(5, "the canary is late", changes_only=False)

    assert it.moves == [
        Moved("leads", State.READY, State.WAITING, "the canary is late", is_wanted=True),
        Moved("room", State.READY, State.WAITING, "the canary is late", is_wanted=True),
    ]
    assert it.deadline == 5
    assert server.tick(5) == ["phx_join"]
    server.accept("leads", 5)
    assert server.tick(5) == ["phx_join"]
    assert state(it, "missing") is State.REFUSED


def test_a_rejoin_of_what_brings_changes_leaves_the_others_alone() -> None:
    it = session(LEADS, ROOM)
    server = Server(it)
    server.make_ready("leads", "room", now=0)

    it.rejoin(5, "the canary is late", changes_only=True)

    assert (state(it), state(it, "room")) == (State.WAITING, State.READY)


def test_a_frame_of_ours_goes_out_with_the_next_tick() -> None:
    it = session(ROOM)
    server = Server(it)
    server.make_ready("room", now=0)

    it.push(b"\x03bytes", 5)
    it.push('[null,"x","realtime:room","broadcast",{}]', 5)

    assert it.deadline <= 5
    assert it.tick(5) == [b"\x03bytes", '[null,"x","realtime:room","broadcast",{}]']
    assert it.deadline == 25


def test_what_is_queued_may_go_out_while_nothing_is_read() -> None:
    it = session(ROOM)
    Server(it).make_ready("room", now=0)

    it.push(b"x", 5)

    assert it.has_queued
    assert it.beat(5) == [b"x"]


def test_sessions_of_one_tenant_share_the_pace_of_their_joins() -> None:
    tenant = Tenant()
    sessions = [
        Session(
            [Subscription(f"room-{side}-{n}", broadcast=True) for n in range(3)],
            token=None,
            now=0.0,
            timing=Timing(pace=0.5),
            tenant=tenant,
            backoff=backoff,
        )
        for side in "ab"
    ]
    servers = [Server(it) for it in sessions]
    joined: list[float] = []

    while len(joined) < 6:
        first = min(servers, key=lambda server: server.session.deadline)
        now = first.session.deadline
        for _ in first.tick(now):
            joined.append(now)
            first.accept(first.sent[-1][2].removeprefix("realtime:"), now)

    assert joined == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
