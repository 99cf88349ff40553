"""Does the feed deliver, of any value and any table, what the real server was seen delivering?"""

from __future__ import annotations

import asyncpg
import pytest

from local.postgres import Cluster
from tests.support.changes import listening
from tests.support.databases import cloned
from tests.support.goldens import Case, Outcome, alike, cases, differences, known_differences, run

CASES = [*cases("postgres_changes.jsonl"), *cases("filters.jsonl")]
KNOWN = known_differences()
OUTCOMES: dict[str, Outcome] = {}  # alike cases are run together, by the first that is asked for


async def outcome(case: Case, cluster: Cluster, template: str) -> Outcome:
    if case.name not in OUTCOMES:
        async with cloned(cluster, template) as database, listening(database.admin_url) as listener:
            session = await asyncpg.connect(database.admin_url)
            try:
                ran = await run(
                    alike(case, CASES),
                    session,
                    lambda one: listener.refusal(one.subscription, key=one.name),
                    lambda: listener.heard_by_key(session),
                )
            finally:
                await session.close()
        OUTCOMES.update(ran)
    return OUTCOMES[case.name]


@pytest.mark.parametrize("case", [one for one in CASES if one.name not in KNOWN], ids=str)
async def test_a_change_reads_as_from_the_real_server(
    case: Case, cluster: Cluster, prepared_template: str
) -> None:
    assert not differences(case, await outcome(case, cluster, prepared_template))


@pytest.mark.parametrize("case", [one for one in CASES if one.name in KNOWN], ids=str)
async def test_a_known_difference_is_still_one(
    case: Case, cluster: Cluster, prepared_template: str
) -> None:
    try:
        found = differences(case, await outcome(case, cluster, prepared_template))
    except asyncpg.PostgresError:
        return  # this PostgreSQL cannot even run it
    assert found, "it passes: take it off the list"


def test_every_known_difference_names_a_case_and_a_reason() -> None:
    assert KNOWN.keys() <= {case.name for case in CASES}
    assert all(KNOWN.values())
