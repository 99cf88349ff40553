"""Do realtime.send and realtime.broadcast_changes do what the real ones were seen doing?"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.support.databases import FreshDatabase
from tests.support.goldens import emptied, exact, known_differences

GOLDENS = Path(__file__).with_name("goldens")


CASES = [exact(line) for line in (GOLDENS / "broadcast_changes.jsonl").read_text().splitlines()]
KNOWN = known_differences(GOLDENS / "broadcast_changes.known.txt")


@pytest_asyncio.fixture(loop_scope="session")
async def session(golden_database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(golden_database.admin_url)
    yield connection
    await connection.close()
    await emptied(golden_database)


async def outcome(session: asyncpg.Connection, case: dict[str, Any]) -> dict[str, Any]:
    """What the case's statements did: `expected`, `warnings` and `error`, as in the file."""
    for statement in case["setup"]:
        await session.execute(statement)
    warnings: list[str] = []
    session.add_log_listener(lambda _, said: warnings.append(said.message))
    seen: dict[str, Any] = {}
    try:
        for statement in case["dml"]:
            await session.execute(statement)
    except asyncpg.PostgresError as error:
        seen["error"] = str(error)
    # ctid: the order of insertion, which no column tells.
    rows = await session.fetch(
        "select topic, event, private, extension, id::text, payload::text "
        "from realtime.messages order by tableoid, ctid"
    )
    seen["expected"] = [message(row) for row in rows]
    return seen | ({"warnings": warnings} if warnings else {})


def message(row: asyncpg.Record) -> dict[str, Any]:
    payload = None if row["payload"] is None else exact(row["payload"])
    if isinstance(payload, dict) and payload.get("id") == row["id"]:
        payload["id"] = "<id>"
    return {name: row[name] for name in ("topic", "event", "private", "extension")} | {
        "payload": payload
    }


def written(value: Any) -> str:
    """Comparable text: Decimals equal by value (12.50 == 12.5) differ by their digits."""
    return json.dumps(value, default=lambda number: {"number": str(number)}, sort_keys=True)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
async def test_a_message_is_stored_as_by_the_real_server(
    case: dict[str, Any], session: asyncpg.Connection
) -> None:
    wanted = {key: case[key] for key in ("expected", "warnings", "error") if key in case}

    seen = await outcome(session, case)

    if case["name"] in KNOWN:
        assert written(seen) != written(wanted), "it passes: take it off the known differences"
    else:
        assert written(seen) == written(wanted)


def test_every_known_difference_names_a_case_and_a_reason() -> None:
    names = {case["name"] for case in CASES}

    assert set(KNOWN) <= names
    assert all(KNOWN.values())
