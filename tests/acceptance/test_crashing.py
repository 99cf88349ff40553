"""Does nothing of the process survive a part of it?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.deployment import HANDLERS, settings_for
from tests.acceptance.process import worker_process
from tests.acceptance.realtime import one_change
from tests.integration.scripted import scripted
from tests.support.databases import FreshDatabase


async def test_a_part_that_crashes_ends_the_process(
    migrated: FreshDatabase, supabase: str, folder: Path
) -> None:
    """A metric that is already there is the nearest thing to a bug of our own."""
    (folder / "deployment" / "leads.py").write_text(HANDLERS + SABOTAGE)
    settings = settings_for(migrated.url, supabase)
    async with worker_process("run", folder=folder, settings=settings) as worker:
        assert await worker.ends() == 1
        failed = await worker.event("part.failed", part="readiness-watch")
        assert "AttributeError" in failed["exception"]
        assert worker.events("worker.failed")


SABOTAGE = """

from worker import metrics

metrics.ready = None
"""


OVER = """

import asyncio

from worker.ops.health import Health


async def over(health):
    {how}


Health.watch_readiness = over
"""


@pytest.mark.parametrize("how", ["return", "raise asyncio.CancelledError"])
async def test_a_part_that_ends_without_a_word_ends_the_process(
    how: str, migrated: FreshDatabase, supabase: str, folder: Path
) -> None:
    (folder / "deployment" / "leads.py").write_text(HANDLERS + OVER.format(how=how))
    settings = settings_for(migrated.url, supabase)
    async with worker_process("run", folder=folder, settings=settings) as worker:
        assert await worker.ends() == 1
        ended = await worker.event("part.failed", part="readiness-watch")
        assert "PartEnded" in ended["exception"]


CLINGING = '''
"""A handler that breaks a part of the worker and does not let itself be cancelled."""

import asyncio

from worker import Change, Effects, on
from worker.ops import health


@on.change("public.leads")
async def clinging(change: Change, do: Effects) -> None:
    """It is never done, so nothing is written twice."""
    health.LOOK_SECONDS = "soon"
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
'''


async def test_no_half_of_it_survives_a_crash(migrated: FreshDatabase, folder: Path) -> None:
    (folder / "deployment" / "leads.py").write_text(CLINGING)
    async with scripted(one_change) as url:
        settings = settings_for(migrated.url, url, DRAIN_SECONDS="0.5")
        async with worker_process("run", folder=folder, settings=settings) as worker:
            assert await worker.ends() == 1
            assert worker.said[-1]["event"] == "worker.abandoned"
            assert worker.events("part.failed")
