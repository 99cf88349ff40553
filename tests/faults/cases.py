"""Which faults are there, how do they begin and end, and what is to come of each?"""

from __future__ import annotations

from tests.faults.play import Case, tried
from tests.faults.stage import Stage

RECONNECTS = frozenset(
    {"gap.opened", "connection.lost", "connection.opened", "channel.ready", "gap.closed"}
)
ON_ITS_WAY = "what was on its way: the gap says so"
RESTARTING = "RealtimeRestarting: Realtime is restarting, please standby"


def freeze(on: Stage) -> None:
    on.server.faults.freeze = True


def thaw(on: Stage) -> None:
    on.server.faults.freeze = None


def refuse(on: Stage) -> None:
    """Refuse joins, to clients that have to join again."""
    on.server.faults.refuse_joins = RESTARTING
    on.server.hang_up(1012)


def allow(on: Stage) -> None:
    on.server.faults.refuse_joins = None


def ignore_heartbeats(on: Stage) -> None:
    on.server.faults.ignore_heartbeats = True


def answer_heartbeats(on: Stage) -> None:
    on.server.faults.ignore_heartbeats = None


def hang_up_on_all(on: Stage) -> None:
    on.server.faults.hang_up = 1011
    on.server.hang_up(1011)


def stay_on(on: Stage) -> None:
    on.server.faults.hang_up = None


def _closed(code: int | None) -> Case:
    def close(on: Stage) -> None:
        on.server.hang_up(code)

    name = f"close {code or '1006'}"
    return Case(
        switch="close", name=name, throw=close, attempts=1, steps=3,
        says=RECONNECTS, loses=ON_ITS_WAY,
    )  # fmt: skip


CASES = (
    *(_closed(code) for code in (1000, 1001, None, 1009, 1011, 1012)),
    Case(
        switch="freeze", name="freeze", throw=freeze, mend=thaw, attempts=1, steps=3,
        says=RECONNECTS, loses=ON_ITS_WAY,
    ),
    # While changes come they are life enough: it is noticed when the load is over.
    Case(
        switch="ignore_heartbeats", name="ignore heartbeats", throw=ignore_heartbeats,
        mend=answer_heartbeats, attempts=1, steps=3, says=RECONNECTS, loses="nothing",
    ),
    Case(
        switch="hang_up", name="accept and hang up", throw=hang_up_on_all, mend=stay_on,
        lasts=tried(5), attempts=1, steps=3, says=RECONNECTS, loses=ON_ITS_WAY,
    ),
    Case(
        switch="refuse_joins", name="refuse joins", throw=refuse, mend=allow,
        lasts=lambda on: on.notes.lines.count("channel.lost") >= 4, attempts=1, steps=3,
        says=RECONNECTS | {"channel.lost"}, loses=ON_ITS_WAY,
    ),
)  # fmt: skip
