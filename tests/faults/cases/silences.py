"""What goes wrong without anybody being told?"""

from __future__ import annotations

from functools import partial

from tests.faults.cases.connections import MOST_STEPS, RECONNECTED
from tests.faults.play import Case, said

MISSED = frozenset({"canary.missed", "gap.opened", "canary.back", "gap.closed"})

_Silent = partial(
    Case,
    patience=0.5,  # seconds for a beat
    gaps=(1, 99),
    does="misses a beat of the canary: joins again, then connects again, and is not ready until "
    "one comes",
    loses="what was written since the last beat that came; the gap says so. Of a silence that is "
    "over before the next beat nobody knows",
)

SILENCES = (
    _Silent(
        switch="cdc_dead", lasts=said("canary.missed", 2), attempts=1, steps=MOST_STEPS,
        says=MISSED | RECONNECTED,
    ),
    _Silent(
        switch="cdc_lost", lasts=said("canary.missed"), steps=MOST_STEPS,
        says=MISSED | {"channel.ready"},
        does="misses a beat of the canary and joins again, which is the cure",
    ),
    _Silent(
        switch="broadcasts_dead", lasts=said("canary.missed", 2), attempts=1, steps=MOST_STEPS,
        says=MISSED | RECONNECTED,
    ),
)  # fmt: skip
