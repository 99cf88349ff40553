"""Does the feed deliver, of any value and any table, what the real server was seen delivering?"""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from tests.support.changes import Listener, listening
from tests.support.databases import FreshDatabase
from tests.support.goldens import (
    Case,
    Outcome,
    alike,
    cases,
    differences,
    emptied,
    known_differences,
    run,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

CASES = [*cases("postgres_changes.jsonl"), *cases("filters.jsonl")]
KNOWN = known_differences()
OUTCOMES: dict[str, Outcome] = {}  # alike cases are run together, by the first that is asked for


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def golden_listener(golden_database: FreshDatabase) -> AsyncIterator[Listener]:
    async with listening(golden_database.admin_url) as listener:
        yield listener


async def outcome(case: Case, database: FreshDatabase, listener: Listener) -> Outcome:
    if case.name not in OUTCOMES:
        session = await asyncpg.connect(database.admin_url)
        try:
            ran = await run(
                alike(case, CASES),
                session,
                lambda one: listener.refusal(one.subscription, key=one.name),
                lambda: listener.heard_by_key(session),
            )
        finally:
            for one in alike(case, CASES):
                await listener.feed.unsubscribe(one.name)
            await session.close()
            await emptied(database)
        OUTCOMES.update(ran)
    return OUTCOMES[case.name]


@pytest.mark.parametrize("case", [one for one in CASES if one.name not in KNOWN], ids=str)
async def test_a_change_reads_as_from_the_real_server(
    case: Case, golden_database: FreshDatabase, golden_listener: Listener
) -> None:
    assert not differences(case, await outcome(case, golden_database, golden_listener))


@pytest.mark.parametrize("case", [one for one in CASES if one.name in KNOWN], ids=str)
async def test_a_known_difference_is_still_one(
    case: Case, golden_database: FreshDatabase, golden_listener: Listener
) -> None:
    try:
        found = differences(case, await outcome(case, golden_database, golden_listener))
    except asyncpg.PostgresError:
        return  # this PostgreSQL cannot even run it
    assert found, "it passes: take it off the list"


async def test_every_known_difference_names_a_case_and_a_reason() -> None:
    assert KNOWN.keys() <= {case.name for case in CASES}
    assert all(KNOWN.values())
