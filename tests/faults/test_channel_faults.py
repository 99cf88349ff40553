"""Does the link get over each fault of a channel by itself, idle and under load?"""

from __future__ import annotations

import pytest

from tests.faults.cases import CHANNELS
from tests.faults.play import Case, play
from tests.support.databases import FreshDatabase


@pytest.mark.parametrize("loaded", [False, True], ids=["idle", "loaded"])
@pytest.mark.parametrize("case", CHANNELS, ids=str)
async def test_the_link_gets_over_it(case: Case, loaded: bool, migrated: FreshDatabase) -> None:
    recovery = await play(case, migrated, loaded=loaded)

    print(f"{case}: {recovery}")  # seconds are shown, not asserted
