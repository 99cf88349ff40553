"""What goes wrong with a channel while its connection is well?"""

from __future__ import annotations

from functools import partial

from tests.faults.cases.connections import MOST_STEPS, RECONNECTED
from tests.faults.play import Case, all_of, said

REJOINED = frozenset({"gap.opened", "channel.lost", "channel.ready", "gap.closed"})
MEANWHILE = "what was written meanwhile; the gap says so"

_Again = partial(
    Case,
    steps=MOST_STEPS,
    says=REJOINED,
    does="joins the channel again, with backoff; the connection stays",
    loses=MEANWHILE,
)
_Refused = partial(
    _Again, switch="refuse_joins", beside=("crash_channels",), lasts=said("channel.lost", 4)
)
_ForGood = partial(
    _Refused,
    lasts=said("channel.refused", 2),
    says=REJOINED | {"channel.refused"},
    does="says once as an error what is to be mended, and asks again seldom",
)

CHANNELS = (
    _Refused(value="RealtimeRestarting: Realtime is restarting, please standby"),
    _ForGood(value="Unauthorized: You do not have permissions to read from this Channel topic: "
             "<topic>"),
    Case(
        switch="refuse_joins", value="ClientJoinRateLimitReached: Too many joins per second",
        beside=("crash_channels",), lasts=said("connection.lost"), attempts=1, steps=MOST_STEPS,
        says=RECONNECTED, does="is hung up on with 1001: reconnects with backoff",
        loses=MEANWHILE,
    ),
    _Refused(
        switch="token_expired", beside=(), says=REJOINED | {"channel.degraded", "key.expired"},
        does="says once that the key has expired, is not ready, and asks again with backoff; the "
        "token of a signed-in user is renewed at once",
    ),
    Case(
        switch="late_joins", value="0.4", beside=("close=1012",), lasts=said("channel.ready"),
        attempts=1, steps=1,
        says=RECONNECTED, does="waits for the answer, which holds up all channels of the socket",
        loses=MEANWHILE,
    ),
    Case(
        switch="late_changes", value="0.4", beside=("close=1012",), lasts=said("channel.ready", 3),
        attempts=1, steps=1,
        says=RECONNECTED, does="is not ready, and keeps the gap open until the word comes",
        loses=MEANWHILE,
    ),
    _Again(switch="crash_channels"),
    _Again(switch="shut_channels", value="Too many messages per second",
           says=REJOINED | {"channel.degraded"}),
    _Again(
        switch="stale_close", value="0.1", beside=("failed_subscription",),
        gaps=(1, 1),
        lasts=all_of(said("channel.ready"), lambda on: on.notes.frames["phx_close"] > 0),
        settings={"subscribe_again_delay": (3.0, 3.0)},
        says=REJOINED | {"channel.degraded"},
        does="tells by its reference that the goodbye is the old channel's, and ignores it",
    ),
    Case(
        switch="failed_subscription", says=REJOINED - {"channel.lost"} | {"channel.degraded"},
        does="waits for the server, which tries again by itself; rejoins if it does not",
        loses=MEANWHILE,
    ),
)  # fmt: skip
