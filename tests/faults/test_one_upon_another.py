"""Does the link get over faults that come while it still gets over others?"""

from __future__ import annotations

import asyncio
import random

import pytest

from local.realtime.faults import Faults
from tests.faults.cases import CASES, SILENCES
from tests.faults.notes import Notes
from tests.faults.play import Case
from tests.faults.stage import Stage, stage
from tests.support.databases import FreshDatabase

RATE = 500.0
ROWS = (10, 150)  # how long a fault lasts, and until the next: so many rows, as a clock
PATIENCE = 0.6  # seconds for a beat of the canary

# What is dropped, doubled or put out of order one by one, nobody can find out. A canary of
# broadcasts that was refused for want of a right is not asked again: then their silence is none.
FINDABLE = tuple(
    case for case in CASES if not (case.allows or case.named or case.switch == "broadcasts_dead")
)


@pytest.mark.parametrize("seed", range(2))
async def test_nothing_is_lost_without_a_word(seed: int, migrated: FreshDatabase) -> None:
    rng = random.Random(seed)
    faults = rng.sample(FINDABLE, 12)
    async with stage(migrated, Notes(), patience=PATIENCE) as on:
        async with asyncio.TaskGroup() as tasks:
            load = tasks.create_task(on.writer.load(RATE, 60.0))
            for case in faults:
                await strike(case, on, rng)
            load.cancel()
        await on.mark()
        mistakes = {name: one.mistakes for name, one in (await on.verdicts()).items()}

    assert not any(mistakes.values()), (mistakes, list(map(str, faults)))


async def strike(case: Case, on: Stage, rng: random.Random) -> None:
    """Throw the switch for some rows; what it does once needs no taking back."""
    on.begin()
    case.throw(on.server.faults)
    if case in SILENCES:  # one that is over between two beats leaves no trace
        await on.until(lambda: "gap.opened" in on.notes.lines[on.begun :], "it was noticed")
    await rows(on, rng.randint(*ROWS))
    if Faults.switches()[case.switch].when != "once":
        case.take_back(on.server.faults)
    await rows(on, rng.randint(*ROWS))


async def rows(on: Stage, number: int) -> None:
    until = on.writer.newest + number
    await on.until(lambda: on.writer.newest >= until, "more rows were written")


async def test_a_table_that_comes_back_from_a_trial_is_watched(migrated: FreshDatabase) -> None:
    """Its line was connected while no table was on it, so no beat of changes was looked for."""
    async with stage(migrated, Notes(), patience=PATIENCE) as on:
        faults = on.server.faults
        faults.throw("refuse_joins", "Unauthorized")
        faults.throw("crash_channels")
        isolated = {"event": "channel.isolated", "topic": "changes"}
        await on.until(
            lambda: any(isolated.items() <= line.items() for line in on.notes.said), "the trial"
        )
        faults.throw("close", "1012")
        faults.take_back("refuse_joins")
        await on.mark()
        faults.throw("cdc_lost")
        await on.until(lambda: "canary.missed" in on.notes.lines, "a beat was missed")
        await on.mark()
