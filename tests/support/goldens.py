"""How are the goldens of Postgres Changes read, run and compared?"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg

from local.database import prepare
from tests.support.databases import FreshDatabase

FOLDER = Path(__file__).parents[1] / "conformance" / "goldens"
KNOWN_DIFFERENCES = Path(__file__).parents[1] / "conformance" / "known-differences.txt"

ROLE = "authenticated"
CLAIMS = {"role": ROLE, "sub": "11111111-1111-4111-8111-111111111111"}
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@dataclass(frozen=True, slots=True)
class Case:
    """`subscription` is what the client asks for; `error` the text it gets instead of changes."""

    name: str
    setup: Sequence[str]
    dml: Sequence[str]
    subscription: dict[str, Any]
    expected: Sequence[Any]
    error: str | None

    def __str__(self) -> str:
        return self.name


def cases(file: str) -> list[Case]:
    return [_case(exact(line)) for line in (FOLDER / file).read_text().splitlines()]


def _case(golden: dict[str, Any]) -> Case:
    subscription = {"event": "*", "schema": "*"}
    if "filter" in golden:
        subscription = {"event": golden["event"], "schema": "public", "table": "items"}
        subscription["filter"] = golden["filter"]
    return Case(
        golden["name"],
        golden["setup"],
        golden["dml"],
        subscription,
        golden.get("expected", []),
        golden.get("error"),
    )


def known_differences(listed_in: Path = KNOWN_DIFFERENCES) -> dict[str, str]:
    """Name of a case → why it may fail."""
    lines = listed_in.read_text().splitlines()
    listed = (line.partition(": ") for line in lines if line and not line.startswith("#"))
    return {name: reason for name, _, reason in listed}


def exact(text: str | bytes) -> Any:
    """JSON with exact numbers: 2^53+1 is itself, and 12.50 keeps its digits."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def comparable(changes: Sequence[Any]) -> list[str]:
    """One text for each change; only the key order of the outer object does not matter."""
    return [_written(_without_time(change)) for change in changes]


def _without_time(change: dict[str, Any]) -> dict[str, Any]:
    moment = change["commit_timestamp"]
    known = moment is not None and TIMESTAMP.fullmatch(moment)
    stamped = change | {"commit_timestamp": "<timestamp>" if known else moment}
    return dict(sorted(stamped.items()))


def _written(value: Any) -> str:
    return json.dumps(value, default=lambda number: {"number": format(number, "f")})


EMPTY = """
do $$
declare
    schema text;
begin
    for schema in
        select nspname from pg_namespace
        where nspname !~ '^pg_' and nspname not in (
            'information_schema', 'auth', 'realtime', 'tidemark_local', 'extensions'
        )
    loop
        execute format('drop schema %I cascade', schema);
    end loop;
    create schema public;
    truncate realtime.messages;
    drop publication if exists supabase_realtime;
end
$$
"""


async def emptied(database: FreshDatabase) -> None:
    """Drop what a case made and bring back what Supabase has."""
    connection = await asyncpg.connect(database.admin_url)
    try:
        await connection.execute("set client_min_messages = warning")
        await connection.execute(EMPTY)
    finally:
        await connection.close()
    await prepare(database.admin_url)


async def execute(connection: asyncpg.Connection, statements: Sequence[str]) -> None:
    for statement in statements:
        await connection.execute(statement)


Listen = Callable[[Case], Awaitable[str | None]]
Hear = Callable[[], Awaitable[Mapping[str, Sequence[Any]]]]


@dataclass(frozen=True, slots=True)
class Outcome:
    error: str | None
    changes: Sequence[Any]


def alike(case: Case, all_cases: Iterable[Case]) -> list[Case]:
    """The cases that set up and change the same rows: one database serves them all."""
    return [one for one in all_cases if (one.setup, one.dml) == (case.setup, case.dml)]


async def run(
    group: Sequence[Case], session: asyncpg.Connection, listen: Listen, heard: Hear
) -> dict[str, Outcome]:
    """
    What became of each of a group of alike cases, by name.

    `listen` subscribes for one case and returns the text if it is refused; `heard` waits until
    everything committed by then has come, and returns it by the name of the case.
    """
    await execute(session, group[0].setup)
    errors = {case.name: await listen(case) for case in group}
    if None in errors.values():
        await execute(session, group[0].dml)
    changes = await heard()
    return {case.name: Outcome(errors[case.name], changes.get(case.name, [])) for case in group}


def differences(case: Case, outcome: Outcome) -> str:
    """Nothing, or the golden and what came instead."""
    wanted = f"error: {case.error}\n" + "\n".join(comparable(case.expected))
    seen = f"error: {outcome.error}\n" + "\n".join(comparable(outcome.changes))
    return "" if wanted == seen else f"wanted {wanted}\nseen {seen}"
