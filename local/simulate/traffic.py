"""What happens while the simulator runs, and what came of it?"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from local.simulate import words
from local.simulate.desk import AGENTS, SHARED_LEADS
from local.simulate.known import FUNNEL
from local.simulate.plan import plan
from local.simulate.step import Mailbox, Step, Transaction
from local.simulate.write import Writer
from worker.db import url
from worker.errors import CommandFailed

TABLES = ("agents", "approvals", "events", "leads")
WRITERS = 4
LATE = 5.0  # seconds after the end in which what is due may still be done


@dataclass(slots=True)
class Summary:
    """
    What was committed.

    `changes`: rows changed, by the table of the step; what cascaded from it is counted there.
    `kinds`: rows that somebody meant to change. `late`: the database was slower than the rate,
    and the rest was left.
    """

    seconds: float = 0.0
    changes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    committed: int = 0
    rolled_back: int = 0
    savepoints_undone: int = 0
    retried: int = 0
    late: bool = False

    def note(self, transaction: Transaction) -> None:
        if transaction.commits:
            self.committed += 1
        else:
            self.rolled_back += 1
        undone = [part for part in transaction.parts if part.savepoint == "undone"]
        self.savepoints_undone += len(undone)
        for step in transaction.lasting:
            self.note_step(step)

    def note_step(self, step: Step) -> None:
        self.changes[step.table] += step.changes
        self.kinds[step.kind] += len(step.numbers)

    def __str__(self) -> str:
        lines = [f"{self.changes.total()} changes in {self.seconds:.1f} s"]
        lines += [f"  {table:<10} {count:>7}" for table, count in sorted(self.changes.items())]
        lines += ["of these meant"]
        lines += [f"  {kind:<20} {count:>7}" for kind, count in sorted(self.kinds.items())]
        lines += [
            f"{self.committed} transactions committed, {self.rolled_back} rolled back, "
            f"{self.savepoints_undone} savepoints undone, {self.retried} tried again"
        ]
        if self.late:
            lines += ["the database was slower than the rate: not everything was done in time"]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        return {
            "seconds": round(self.seconds, 3),
            "changes": self.changes.total(),
            "by_table": dict(sorted(self.changes.items())),
            "by_kind": dict(sorted(self.kinds.items())),
            "transactions": {
                "committed": self.committed,
                "rolled_back": self.rolled_back,
                "savepoints_undone": self.savepoints_undone,
                "retried": self.retried,
            },
            "late": self.late,
        }


@dataclass(frozen=True, slots=True)
class Run:
    """What the writers of one run share. `rate` is of all of them together."""

    database_url: str
    rate: float
    seconds: float
    seed: int
    stopping: asyncio.Event
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    summary: Summary = field(default_factory=Summary)


async def simulate(
    database_url: str, *, rate: float, seconds: float, seed: int, stopping: asyncio.Event
) -> Summary:
    """
    Make `rate` committed changes a second for `seconds`, or until `stopping` is set.

    Raises ValueError for what is no connection string, CommandFailed where the database cannot
    be reached or has no RE Engine tables.
    """
    run = Run(database_url, rate, seconds, seed, stopping)
    try:
        agents = await _prepared(run)
        begun = time.monotonic()
        async with asyncio.TaskGroup() as writing:
            for number in range(WRITERS):
                writing.create_task(_write(run, number, agents, begun))
    except* (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as failed:
        reason = failed.exceptions[0]
        raise CommandFailed(f"traffic ended: {type(reason).__name__}: {reason}") from None
    run.summary.seconds = time.monotonic() - begun
    return run.summary


@asynccontextmanager
async def connected(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(**url.parse(database_url).arguments(), timeout=10.0)
    try:
        yield connection
    finally:
        await connection.close(timeout=2.0)


async def _prepared(run: Run) -> list[uuid.UUID]:
    """Make what all writers share: leads of this run, and agents where there are none."""
    async with connected(run.database_url) as connection:
        for table in TABLES:
            if await connection.fetchval("select to_regclass($1)", f"public.{table}") is None:
                raise CommandFailed(
                    f"there is no table public.{table}; run `python -m worker migrate` first"
                )
        found = await connection.fetch("select id from public.agents order by id limit $1", AGENTS)
        agents = [row["id"] for row in found]
        ours = [uuid.uuid5(run.id, f"agent/{number}") for number in range(AGENTS)]
        writer = Writer(connection, run.id, "shared", agents or ours)
        for step in _shared_rows(run.seed, with_agents=not agents):
            await writer.step(step)
            run.summary.note_step(step)
        return list(writer.agents)


def _shared_rows(seed: int, *, with_agents: bool) -> list[Step]:
    rng = random.Random(f"shared/{seed}")
    leads = tuple(-number for number in range(1, SHARED_LEADS + 1))
    values = tuple(
        {**words.lead(rng), "email": Mailbox(number), "status": FUNNEL[0]} for number in leads
    )
    steps = [Step("lead.created", "insert", "leads", leads, values, changes=len(leads))]
    if with_agents:
        numbers = tuple(range(AGENTS))
        people = tuple(words.agent(rng) for _ in numbers)
        steps.append(Step("agent.hired", "insert", "agents", numbers, people, changes=AGENTS))
    return steps


async def _write(run: Run, number: int, agents: list[uuid.UUID], begun: float) -> None:
    """Carry out one writer's plan, each transaction when it is due."""
    summary = run.summary
    async with connected(run.database_url) as connection:
        writer = Writer(connection, run.id, f"writer{number}", agents)
        for transaction in plan(run.seed, number, run.rate / WRITERS, run.seconds):
            await _until(begun + transaction.at, run.stopping)
            if run.stopping.is_set():
                break
            if time.monotonic() > begun + run.seconds + LATE:
                summary.late = True
                break
            await writer.write(transaction)
            summary.note(transaction)
        summary.retried += writer.retried


async def _until(moment: float, stopping: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, moment - time.monotonic())):
            await stopping.wait()
