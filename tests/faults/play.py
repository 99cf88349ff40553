"""What does a link make of one fault, idle and under load?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.notes import Notes
from tests.faults.stage import Stage, stage
from tests.faults.verdict import Verdict
from tests.faults.writer import TABLE
from tests.support.databases import FreshDatabase

RATE, SECONDS = 500.0, 2.0  # of the load
FIRST_HALF = 250  # rows that have come when the fault begins


def noticed(stage: Stage) -> bool:
    """The fault lasts until the link has opened a gap for it."""
    return bool(stage.notes.open)


def tried(times: int) -> Callable[[Stage], bool]:
    """The fault lasts until the link has tried in vain so often."""
    return lambda stage: stage.notes.attempts >= times


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """
    One fault, and what is to come of it.

    `attempts` bounds the connections tried since it was taken back, `steps` the waits drawn for
    them and for channels. `says` are the log events that must be among those said. `loses` is
    what may be missing and who says so.
    """

    switch: str
    name: str
    throw: Callable[[Stage], None]
    mend: Callable[[Stage], None] | None = None  # None: it is over as soon as it has happened
    lasts: Callable[[Stage], bool] = noticed
    attempts: int = 0
    steps: int = 1
    says: frozenset[str] = frozenset()
    loses: str
    settings: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What came of a fault; `seconds` from its end are for the eye only."""

    attempts: int
    steps: int
    gaps: int
    seconds: float
    said: tuple[str, ...]
    verdicts: dict[str, Verdict]

    @property
    def lost(self) -> int:
        """How many rows and messages did not come, and gaps said so."""
        return sum(len(verdict.covered) for verdict in self.verdicts.values())

    def __str__(self) -> str:
        return (
            f"{self.attempts} attempts, {self.steps} steps, {self.gaps} gaps, {self.lost} lost, "
            f"{self.seconds:.2f} s"
        )


async def play(
    case: Case, database: FreshDatabase, *, loaded: bool, notes: Notes | None = None
) -> Recovery:
    """
    Let the fault happen, and return what came of it.

    Raises AssertionError for whatever the link does not keep; an ExceptionGroup of it when that
    kept the case from ending.
    """
    async with stage(database, notes or Notes(), **case.settings) as on:
        await on.mark()
        async with asyncio.TaskGroup() as tasks:
            if loaded:
                tasks.create_task(on.writer.load(RATE, SECONDS))
                await on.until(lambda: on.notes.last(TABLE) > FIRST_HALF, "half of the load came")
            begun, gaps = len(on.notes.lines), on.notes.gaps
            attempts, steps, seconds = await _survived(case, on)
        await on.mark()
        await on.until(lambda: on.is_whole, "the end")
        recovery = Recovery(
            attempts=attempts,
            steps=steps,
            gaps=on.notes.gaps - gaps,
            seconds=seconds,
            said=tuple(dict.fromkeys(on.notes.lines[begun:])),
            verdicts=await on.verdicts(),
        )
    _check(case, recovery)
    return recovery


async def _survived(case: Case, on: Stage) -> tuple[int, int, float]:
    """Throw the switch and take it back; return the attempts, steps and seconds since."""
    clock = asyncio.get_running_loop()
    on.notes.start_counting()
    case.throw(on)
    await on.until(lambda: case.lasts(on), "the fault was felt")
    if case.mend is not None:
        on.notes.start_counting()
        case.mend(on)
    mended = clock.time()
    await on.until(lambda: on.is_whole, "everything flowed again")
    return on.notes.attempts, on.notes.steps, clock.time() - mended


def _check(case: Case, recovery: Recovery) -> None:
    mistakes = {name: verdict.mistakes for name, verdict in recovery.verdicts.items()}
    assert not any(mistakes.values()), mistakes
    assert recovery.attempts <= case.attempts, recovery
    assert recovery.steps <= case.steps, recovery
    assert case.says <= set(recovery.said), case.says - set(recovery.said)
