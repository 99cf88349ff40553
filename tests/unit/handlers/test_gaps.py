"""Are the gaps counted?"""

from __future__ import annotations

from uuid import uuid4

from handlers import gaps
from tests.support.handling import asked
from worker import Gap
from worker.effects import Count


async def test_gaps_are_counted_by_reason() -> None:
    gap = Gap(
        id=uuid4(), reason="start", tables=frozenset(), topics=frozenset(), opened=0, closed=1
    )

    assert await asked(gaps.count_gap, gap) == [Count("gaps", 1, {"reason": "start"})]
