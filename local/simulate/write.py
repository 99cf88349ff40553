"""How does a planned transaction become SQL?"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson

from local.simulate.step import FromNow, Mailbox, Part, Row, Step, Transaction, Values

# What two people at the same rows do to each other; whoever loses tries again.
AGAIN = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
ATTEMPTS = 5


class _Undo(Exception):
    """Leaves a savepoint or a transaction so that it is rolled back."""


@dataclass(slots=True)
class Writer:
    """
    Writes one writer's transactions on a connection of its own.

    Ids are derived from `run`, so the same plan can be carried out in a database again.
    """

    connection: asyncpg.Connection
    run: uuid.UUID
    name: str
    agents: Sequence[uuid.UUID]
    retried: int = field(default=0, init=False)

    async def write(self, transaction: Transaction) -> None:
        """Carry it out to its planned end. Raises asyncpg.PostgresError where that fails."""
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._once(transaction)
            except AGAIN:
                self.retried += 1
        return await self._once(transaction)

    async def _once(self, transaction: Transaction) -> None:
        try:
            async with self.connection.transaction():
                for part in transaction.parts:
                    await self._part(part)
                if not transaction.commits:
                    raise _Undo
        except _Undo:
            pass

    async def _part(self, part: Part) -> None:
        if part.savepoint is None:
            return await self._steps(part)
        try:
            async with self.connection.transaction():  # inside another one: a savepoint
                await self._steps(part)
                if part.savepoint == "undone":
                    raise _Undo
        except _Undo:
            pass
        except asyncpg.CheckViolationError:
            if part.savepoint != "undone":
                raise
            # An approval decided a second time: the database refuses, and that was the plan.

    async def _steps(self, part: Part) -> None:
        for step in part.steps:
            await self.step(step)

    async def step(self, step: Step) -> None:
        statement, arguments = self._statement(step)
        await self.connection.execute(statement, *arguments)

    def _statement(self, step: Step) -> tuple[str, list[Any]]:
        """SQL and its arguments. Names of tables and columns come from the plan's own code."""
        ids = [self.id(Row(step.table, number)) for number in step.numbers]
        if step.verb == "delete":
            return f"delete from public.{step.table} where id = any($1)", [ids]
        if step.verb == "update":
            columns = [f"{name} = ${n}" for n, name in enumerate(step.values[0], start=2)]
            return (
                f"update public.{step.table} set {', '.join(columns)} where id = any($1)",
                [ids, *self._written(step.values[0])],
            )
        arguments: list[Any] = []
        rows = []
        for id_, values in zip(ids, step.values, strict=True):
            row = [id_, *self._written(values)]
            rows.append(", ".join(f"${len(arguments) + n}" for n in range(1, len(row) + 1)))
            arguments += row
        names = ", ".join(["id", *step.values[0]])
        tuples = ", ".join(f"({row})" for row in rows)
        return f"insert into public.{step.table} ({names}) values {tuples}", arguments

    def id(self, row: Row) -> uuid.UUID:
        if row.table == "agents":
            return self.agents[row.number % len(self.agents)]
        owner = "shared" if row.number < 0 else self.name
        return uuid.uuid5(self.run, f"{owner}/{row.table}/{row.number}")

    def _written(self, values: Values) -> list[Any]:
        return [self._value(value) for value in values.values()]

    def _value(self, value: Any) -> Any:
        match value:
            case Row():
                return self.id(value)
            case FromNow(seconds):
                return datetime.now(UTC) + timedelta(seconds=seconds)
            case Mailbox(number):
                owner = "shared" if number < 0 else self.name
                return f"{owner}.{abs(number)}@{self.run.hex[:12]}.example"
            case dict():
                return orjson.dumps(value).decode()
            case _:
                return value
