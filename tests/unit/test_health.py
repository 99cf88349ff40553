"""Is an outage said once, and does readiness have its reasons?"""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from worker.errors import DatabaseAway
from worker.ops.health import Health


class Line:
    """A connection as the link shows it."""

    def __init__(self) -> None:
        self.connected = False
        self.channels = {"changes": "down"}
        self.token_missing: str | None = None
        self.doubts: list[str] = []

    @property
    def ready(self) -> bool:
        return self.connected and set(self.channels.values()) == {"ready"} and not self.doubts


class Answers:
    """A database that answers as it is told, and then ends the watch."""

    def __init__(self, *answers: str | None) -> None:
        self._answers = list(answers)

    async def ping(self, timeout: float) -> float:
        if not self._answers:
            raise asyncio.CancelledError
        answer = self._answers.pop(0)
        if answer is not None:
            raise DatabaseAway(answer)
        return 0.001


async def no_time(_: float) -> None:
    """Waiting takes none."""


async def watched(*answers: str | None) -> tuple[Health, list[tuple[str, str | None]]]:
    health = Health(Line(), Answers(*answers), sleep=no_time)
    with capture_logs() as logs:
        task = asyncio.create_task(health.watch_database())
        await asyncio.wait([task])
    return health, [(log["event"], log.get("reason")) for log in logs]


async def test_an_outage_is_said_once_with_its_reason() -> None:
    health, said = await watched(None, "refused", "refused", "refused", None, None)

    assert said == [("database.away", "refused"), ("database.back", None)]
    assert health.database_away is None


async def test_an_outage_after_the_start_is_a_reason() -> None:
    line = Line()
    line.connected, line.channels = True, {"changes": "ready"}
    health = Health(line, Answers(None, "refused"), sleep=no_time)
    await asyncio.wait([asyncio.create_task(health.watch_database())])

    assert health.reasons() == ["the database is away: refused"]


async def test_each_outage_is_said() -> None:
    _, said = await watched("first", None, "second")

    assert said == [
        ("database.away", "first"),
        ("database.back", None),
        ("database.away", "second"),
    ]


async def test_missing_migrations_are_looked_for_until_there_are_none() -> None:
    found, asked = [["1.sql", "2.sql"], ["2.sql"], []], []

    async def missing() -> list[str]:
        asked.append(health.migrations_missing)
        return found.pop(0)

    health = Health(Line(), Answers(None, None, None, None), missing, sleep=no_time)
    with capture_logs() as logs:
        await asyncio.wait([asyncio.create_task(health.watch_database())])

    assert [log["event"] for log in logs] == ["migrations.missing"]
    assert asked == [(), ["1.sql", "2.sql"], ["2.sql"]]
    assert not health.migrations_missing


async def test_the_reasons_name_what_is_missing() -> None:
    line = Line()
    health = Health(line, Answers())

    assert health.reasons() == [
        "the database is away: not reached yet",
        "there is no connection to Realtime",
        "channel changes is down",
    ]
    health.database_away = None
    line.token_missing = "Auth gives no token: ConnectError"
    assert health.reasons() == [
        "Auth gives no token: ConnectError",
        "there is no connection to Realtime",
        "channel changes is down",
    ]
    line.token_missing = None
    line.connected, line.channels = True, {"changes": "joined", "chat": "ready"}
    assert health.reasons() == ["channel changes is joined"]
    line.channels["changes"] = "ready"
    assert health.ready
    health.migrations_missing = ["1.sql"]
    assert health.reasons() == ["migrations are missing: 1.sql (python -m worker migrate)"]
    health.migrations_missing = ()
    health.draining = True
    assert health.reasons() == ["the worker is draining"]


async def test_a_beat_that_does_not_come_back_is_a_reason() -> None:
    line = Line()
    line.connected, line.channels = True, {"changes": "ready"}
    line.doubts = ["no canary beat for 42 s (changes)"]
    health = Health(line, Answers())
    health.database_away = None

    assert health.reasons() == ["no canary beat for 42 s (changes)"]


class Lane:
    """A lane that is held up by what it is told."""

    held_up: str | None = None


async def test_an_answering_database_that_takes_nothing_is_a_reason() -> None:
    line, lane = Line(), Lane()
    line.connected, line.channels = True, {"changes": "ready"}
    health = Health(line, Answers(), lane=lane)
    health.database_away = None
    assert health.ready

    lane.held_up = "events wait for the database: read-only"

    assert health.reasons() == ["events wait for the database: read-only"]
