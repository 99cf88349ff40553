"""Do live events survive a database that goes away while they pour in?"""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from local.postgres import Cluster
from tests.support.databases import FreshDatabase
from tests.support.doorway import Doorway
from worker import Change, Effects, on
from worker.cache import Caches
from worker.db import Database
from worker.lanes import LiveLane
from worker.routing import Route, Routes
from worker.routing.declare import declared
from worker.unit import UnitOfWork

COUNT = 300


@on.change("public.leads")
async def audit(change: Change, do: Effects) -> None:
    do.audit(change)
    do.count("leads")


async def test_every_event_is_audited_once_and_in_order_across_an_outage(
    cluster: Cluster, migrated: FreshDatabase
) -> None:
    doorway = Doorway(cluster.port)
    await doorway.open()
    database = Database(
        migrated.url.replace(f":{cluster.port}/", f":{doorway.port}/"), size=2, connect_timeout=2
    )
    outages = 0

    async def pause(seconds: float) -> None:
        """Let the database back in at the third attempt."""
        nonlocal outages
        outages += 1
        if outages % 3 == 0:
            await doorway.open()

    routes = Routes(Route("audit", audit, wants) for wants in declared(audit))
    unit = UnitOfWork(database, Caches())
    lane = LiveLane(routes, unit.commit, Caches(), inbox_size=20, batch_size=7, pause=pause)
    running = asyncio.create_task(lane.run())
    sent: list[UUID] = []
    for n in range(COUNT):
        if n in (100, 200):
            await doorway.shut()
        change = Change(
            id=uuid4(), schema="public", name="leads", kind="INSERT", record={"id": str(uuid4())}
        )
        sent.append(change.id)
        await lane.receive(change)
    await lane.drain()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await database.close()
    await doorway.shut()

    reader = await asyncpg.connect(migrated.url)
    written = await reader.fetch("select event_id from audit_logs order by seq")
    counted = await reader.fetchval("select value from tidemark.counters")
    dead = await reader.fetchval("select count(*) from tidemark.dead_letters")
    await reader.close()
    assert outages >= 6
    assert [row["event_id"] for row in written] == sent
    assert (counted, dead) == (COUNT, 0)
