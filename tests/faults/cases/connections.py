"""What goes wrong with a connection?"""

from __future__ import annotations

from functools import partial

from tests.faults.play import Case, tried
from tests.faults.stage import WANTED

RECONNECTED = frozenset(
    {"gap.opened", "connection.lost", "connection.opened", "channel.ready", "gap.closed"}
)
REFUSED = RECONNECTED - {"connection.lost"} | {"connection.refused"}
MOST_STEPS = len(WANTED) + 2  # a wait for each channel, those of the canary too
ON_ITS_WAY = "what was on its way and what was written meanwhile; the gap says so"

_Lost = partial(
    Case,
    attempts=1,
    steps=1,
    says=RECONNECTED,
    does="reconnects with backoff, joins again",
    loses=ON_ITS_WAY,
)
_Silent = partial(
    _Lost, does="hears nothing after a heartbeat, gives the connection up and reconnects"
)
_Refused = partial(
    _Lost,
    switch="refuse_handshakes",
    beside=("close=1012",),
    lasts=tried(3),
    says=REFUSED,
    does="says status and reason as an error, and goes on trying with backoff",
)

CONNECTIONS = (
    *(_Lost(switch="close", value=str(code)) for code in (1000, 1001, 1006, 1009, 1011, 1012)),
    _Lost(switch="disconnect", does="takes it for a lost connection: reconnects with backoff"),
    _Lost(
        switch="hang_up", value="1000", beside=("close=1012",), lasts=tried(5),
        does="backs off further and further: being accepted is no proof of health",
    ),
    _Refused(value="Failed to validate JWT signature"),
    _Refused(value="Error connecting to Realtime"),
    _Silent(switch="freeze"),
    _Silent(switch="half_open"),
    _Silent(
        switch="ignore_heartbeats",
        does="takes any frame for life; without one it gives the connection up and reconnects",
        loses="nothing that came; what was written while it reconnected: the gap says so",
    ),
    _Lost(switch="slow_reader", value="0.2"),
    _Lost(
        switch="dns", beside=("close=1012",), lasts=tried(3), named=True,
        does="says that the name cannot be resolved, and goes on trying with backoff",
    ),
)  # fmt: skip
