"""Does an idle link get over each fault by itself?"""

from __future__ import annotations

import pytest

from tests.faults.cases import CASES
from tests.faults.play import Case, play
from tests.support.databases import FreshDatabase


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_an_idle_link_gets_over_it(case: Case, database: FreshDatabase) -> None:
    recovery = await play(case, database, loaded=False)

    print(f"{case.name}: {recovery}")  # seconds are shown, not asserted
    assert recovery.gaps
