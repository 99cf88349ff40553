"""Does the matrix find out a link that does not keep its word?"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.faults.cases import CASES
from tests.faults.notes import Notes
from tests.faults.play import play, tried
from tests.faults.stage import stage
from tests.faults.writer import TABLE
from tests.support.databases import FreshDatabase
from worker.event import Change, Event, Gap

(CLOSED,) = (case for case in CASES if case.name == "close=1012")


async def test_a_link_that_does_not_come_back_is_found_out(migrated: FreshDatabase) -> None:
    class Tired(Notes):
        async def pause(self, seconds: float) -> None:
            await asyncio.get_running_loop().create_future()

    async with stage(migrated, Tired()) as on:
        CLOSED.throw(on.server.faults)
        await on.until(lambda: bool(on.notes.open), "the fault was felt")
        on.patience = 0.3  # what is measured: nothing comes
        with pytest.raises(
            AssertionError, match=r"hung before the end: channels {'changes': 'down'"
        ):
            await on.until(lambda: on.is_whole, "the end")


async def test_a_link_that_says_nothing_of_a_gap_is_found_out(migrated: FreshDatabase) -> None:
    class Proud(Notes):
        async def receive(self, event: Event, size: int) -> None:
            if not isinstance(event, Gap):
                await super().receive(event, size)

        def gap_opened(self, *of: object) -> None:
            self.stir()

    case = replace(CLOSED, lasts=tried(1), says=frozenset({"gap.closed"}))
    with pytest.raises(AssertionError, match="'silent'"):
        await play(case, migrated, loaded=True, notes=Proud())


async def test_a_link_that_loses_one_row_is_found_out(migrated: FreshDatabase) -> None:
    class Careless(Notes):
        async def receive(self, event: Event, size: int) -> None:
            if not (isinstance(event, Change) and event.row["id"] == 777):
                await super().receive(event, size)

    with pytest.raises(AssertionError, match=rf"{TABLE}.*'silent': \(777,\)"):
        await play(CLOSED, migrated, loaded=True, notes=Careless())


async def test_a_link_that_tries_too_often_is_found_out(migrated: FreshDatabase) -> None:
    case = replace(CLOSED, attempts=0)
    with pytest.raises(AssertionError, match="1 attempts"):
        await play(case, migrated, loaded=False)
