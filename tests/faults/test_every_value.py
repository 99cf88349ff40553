"""Does the link get over each reason, message and code that a switch can be set to?"""

from __future__ import annotations

from functools import partial

import pytest

from local.realtime.faults import Faults
from tests.faults.cases.connections import MOST_STEPS
from tests.faults.notes import Notes
from tests.faults.play import Case, check, endure, felt, tried
from tests.faults.stage import Stage, stage
from tests.support.databases import FreshDatabase

REASONABLE = partial(
    Case, attempts=2, steps=MOST_STEPS + 1, says=frozenset({"gap.opened", "gap.closed"}),
    does="see the cases", loses="see the cases",
)  # fmt: skip


def met(on: Stage) -> bool:
    """Some join was refused, however the link took it."""
    lines = on.notes.lines[on.begun :]
    return lines.count("channel.lost") > 4 or not {"channel.refused", "connection.lost"}.isdisjoint(
        lines
    )


def noticed(on: Stage) -> bool:
    """A gap was opened, however soon it was closed."""
    return on.notes.noticed is not None


SWITCHES = {
    "refuse_handshakes": partial(REASONABLE, beside=("close=1012",), lasts=tried(2)),
    "hang_up": partial(REASONABLE, beside=("close=1012",), lasts=tried(2)),
    "refuse_joins": partial(REASONABLE, beside=("crash_channels",), lasts=met),
    "shut_channels": partial(REASONABLE, lasts=felt),
    # The log has momentary gaps that are alike once a minute: who listens is told of each.
    "malformed_frame": partial(REASONABLE, lasts=noticed, says=frozenset()),
    "close": partial(REASONABLE, lasts=felt),
    "failed_subscription": partial(REASONABLE, lasts=felt),
}


@pytest.mark.parametrize("switch", SWITCHES)
async def test_one_link_gets_over_one_after_the_other(switch: str, migrated: FreshDatabase) -> None:
    values = Faults.switches()[switch].kind.allowed
    assert values
    async with stage(migrated, Notes()) as on:
        for value in values:
            case = SWITCHES[switch](switch=switch, value=value)
            check(case, await endure(case, on, loaded=False))
