"""What does a link make of one fault, idle and under load?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from local.realtime.faults import Faults
from tests.faults.notes import Notes
from tests.faults.stage import LEISURELY, Stage, stage
from tests.faults.verdict import Verdict
from tests.faults.writer import PRIVATE, TABLE, TOPIC
from tests.support.databases import FreshDatabase

RATE, SECONDS = 500.0, 2.0  # of the load
FIRST_PART = 250  # rows that have come when the fault begins
A_WHILE = 300  # rows


def felt(on: Stage) -> bool:
    """The fault lasts until the link has opened a gap for it."""
    return bool(on.notes.open)


def tried(times: int) -> Callable[[Stage], bool]:
    """The fault lasts until the link has connected in vain so often."""
    return lambda on: on.notes.attempts >= times


def said(event: str, times: int = 1) -> Callable[[Stage], bool]:
    """The fault lasts until the log has had this event so often since it began."""
    return lambda on: on.notes.lines[on.begun :].count(event) >= times


def for_a_while(on: Stage) -> bool:
    """Under load the fault lasts for many rows."""
    return not on.loaded or on.writer.newest >= on.loaded + A_WHILE


def all_of(*met: Callable[[Stage], bool]) -> Callable[[Stage], bool]:
    """The fault lasts until all of it is so."""
    return lambda on: all(one(on) for one in met)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """
    One fault, and what is to come of it.

    `lasts` tells when it may be taken back; `beside` are switches thrown after it (some faults
    are met only by who joins again). `attempts` bounds the connections tried since it was taken
    back, `steps` the waits drawn for them and for channels. `says` are log events that must be
    among those said, `allows` mistakes that no link can find, by stream.

    `writes` is for an idle link whose fault is met only by a row; `named` gives the server a name
    that can be taken away; `patience` is that of the canary, in seconds.

    `does` and `loses` are what the documents say of it: what the worker does, and what is lost
    and who says so.
    """

    switch: str
    value: str | None = None
    beside: tuple[str, ...] = ()
    lasts: Callable[[Stage], bool] = felt
    attempts: int = 0
    steps: int = 0
    gaps: tuple[int, int] = (1, 9)  # how many are opened, at least and at most
    says: frozenset[str] = frozenset()
    writes: bool = False
    named: bool = False
    patience: float = LEISURELY
    allows: Mapping[str, frozenset[str]] = field(default_factory=dict)
    does: str
    loses: str
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As `python -m local up --fault` takes it."""
        return self.switch if self.value is None else f"{self.switch}={self.value}"

    def __str__(self) -> str:
        return self.name

    def throw(self, faults: Faults) -> None:
        faults.throw(self.switch, self.value)
        for other in self.beside:
            faults.throw(*other.split("=", 1))

    def take_back(self, faults: Faults) -> None:
        faults.take_back(self.switch)


@dataclass(frozen=True, slots=True)
class Recovery:
    """
    What came of a fault. Seconds are for the eye only: until a gap was opened (`noticed`), and
    from the fault's end until everything flowed again.
    """

    attempts: int
    steps: int
    gaps: int
    noticed: float
    seconds: float
    said: tuple[str, ...]
    verdicts: Mapping[str, Verdict]

    @property
    def lost(self) -> dict[str, int]:
        """How many rows and messages did not come, said or not."""
        return {
            what: len(self.verdicts[stream].covered) + len(self.verdicts[stream].silent)
            for what, stream in (("rows", TABLE), ("messages", TOPIC), ("private ones", PRIVATE))
        }

    def __str__(self) -> str:
        lost = ", ".join(f"{number} {what} lost" for what, number in self.lost.items())
        return (
            f"{self.attempts} attempts, {self.steps} steps, {self.gaps} gaps, {lost}, "
            f"noticed in {self.noticed:.2f} s, {self.seconds:.2f} s"
        )


async def play(
    case: Case, database: FreshDatabase, *, loaded: bool, notes: Notes | None = None
) -> Recovery:
    """
    Let the fault happen, and return what came of it.

    Raises AssertionError for whatever the link does not keep; an ExceptionGroup of it when that
    kept the case from ending.
    """
    async with stage(
        database, notes or Notes(), named=case.named, patience=case.patience, **case.settings
    ) as on:
        recovery = await endure(case, on, loaded=loaded)
    check(case, recovery)
    return recovery


async def endure(case: Case, on: Stage, *, loaded: bool) -> Recovery:
    """Let the fault happen to a link that is whole, and wait until it is again."""
    await on.mark()
    async with asyncio.TaskGroup() as tasks:
        if loaded:
            part = on.notes.last(TABLE) + FIRST_PART
            tasks.create_task(on.writer.load(RATE, SECONDS))
            await on.until(lambda: on.notes.last(TABLE) >= part, "part of the load came")
            on.loaded = on.writer.newest
        gaps = on.notes.gaps
        noticed, seconds = await _get_over(case, on)
        attempts, steps = on.notes.attempts, on.notes.steps
    await on.mark()
    return Recovery(
        attempts=attempts,
        steps=steps,
        gaps=on.notes.gaps - gaps,
        noticed=noticed,
        seconds=seconds,
        said=tuple(dict.fromkeys(on.notes.lines[on.begun :])),
        verdicts=await on.verdicts(),
    )


async def _get_over(case: Case, on: Stage) -> tuple[float, float]:
    """
    Throw the switch and take it back.

    Returns the seconds until the link noticed, and those from its end until all flows again.
    """
    faults, clock = on.server.faults, asyncio.get_running_loop()
    on.begin()
    begun = clock.time()
    case.throw(faults)
    if case.writes and not on.loaded:
        await on.writer.write()
    await on.until(lambda: case.lasts(on), "the fault was felt")
    if Faults.switches()[case.switch].when != "once":
        on.notes.start_counting()
        case.take_back(faults)
    over = clock.time()
    await on.until(lambda: on.is_whole, "everything flowed again")
    noticed = on.notes.noticed
    return 0.0 if noticed is None else noticed - begun, clock.time() - over


def check(case: Case, recovery: Recovery) -> None:
    """Raise AssertionError where a recovery is not what the case says."""
    for stream, verdict in recovery.verdicts.items():
        mistakes = verdict.mistakes
        assert mistakes.keys() <= case.allows.get(stream, frozenset()), (stream, mistakes)
    assert recovery.attempts <= case.attempts, recovery
    assert recovery.steps <= case.steps, recovery
    assert case.gaps[0] <= recovery.gaps <= case.gaps[1], recovery
    assert case.says <= set(recovery.said), case.says - set(recovery.said)
