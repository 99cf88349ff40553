"""Measure how the worker gets over each fault, and write the table into docs/operations.md."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from local.database import prepare
from local.postgres import Cluster
from tests.faults.cases import CASES
from tests.faults.play import play
from tests.faults.table import described, measured, written_into
from tests.support.databases import administering, cloned, database_of
from worker.db.migrate import default_directory, migrate

PAGE = Path(__file__).parents[2] / "docs/operations.md"


async def template(cluster: Cluster) -> str:
    """Make a database with everything the worker needs; return its name."""
    name = "template_migrated"
    async with administering(cluster) as connection:
        await connection.execute(f"create database {name}")
        made = database_of(cluster, name)
        await prepare(made.admin_url)
        await connection.execute(f"alter database {name} owner to postgres")
    await migrate(made.url, default_directory())
    return name


async def measure(cluster: Cluster) -> list[str]:
    """Play every case, idle and under load, one after the other."""
    prepared = await template(cluster)
    rows = []
    for number, (case, row) in enumerate(zip(CASES, described(CASES), strict=True), start=1):
        recoveries = []
        for loaded in (False, True):
            async with cloned(cluster, prepared) as database:
                recoveries.append(await play(case, database, loaded=loaded))
        rows.append(row + measured(*recoveries))
        sys.stdout.write(f"{number:>3}/{len(CASES)} {case}: {recoveries[1]}\n")
    return rows


def main() -> None:
    with Cluster.running(durable=False) as cluster:
        rows = asyncio.run(measure(cluster))
    PAGE.write_text(written_into(PAGE.read_text(), rows))


if __name__ == "__main__":
    main()
