"""Does every notification reach every sink, whatever happens in between?"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from structlog.testing import capture_logs

from worker.cache import Caches
from worker.db import Database
from worker.effects import Batch, Effects, Notice
from worker.errors import ConfigError
from worker.event import Change
from worker.outbox import Options, deliver, find, opened
from worker.outbox.rows import Outbox
from worker.unit import UnitOfWork

HOUR = 3600.0


class Sink:
    """Takes what it is given, after refusing the first `refusals`."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.taken: list[Notice] = []
        self.arrived = asyncio.Condition()

    async def send(self, notice: Notice) -> None:
        async with self.arrived:
            if self.refusals:
                self.refusals -= 1
                raise ConnectionResetError("secret-value")
            self.taken.append(notice)
            self.arrived.notify_all()

    async def has(self, count: int) -> list[Notice]:
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.taken) >= count)
        return self.taken


def soon() -> Iterator[float]:
    return itertools.repeat(0.0)


def much_later() -> Iterator[float]:
    return itertools.repeat(HOUR)


async def ask(pool: Database, count: int, woken: asyncio.Event | None = None) -> list[Any]:
    """Commit that many notifications, to two agents in turn; return their ids."""
    event = Change(id=uuid4(), schema="public", name="leads", kind="INSERT", record={"id": 1})
    do = Effects(event, "test")
    for n in range(count):
        do.notify("agent", f"a{n % 2}", "lead-moved", n=n)
    committed = woken.set if woken else lambda: None
    await UnitOfWork(pool, Caches(), committed=committed).commit(Batch([do]))
    return [effect.id for effect in do.asked if isinstance(effect, Notice)]


@asynccontextmanager
async def delivering(pool: Database, woken: asyncio.Event, **more: Any) -> AsyncIterator[None]:
    sinks = {name: sink.send for name, sink in more.pop("sinks").items()}
    turn = more.pop("turn", None) or asyncio.Lock()
    task = asyncio.create_task(deliver(pool, sinks, woken, turn, **{"retries": soon, **more}))
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def settled(connection: asyncpg.Connection, count: int) -> None:
    """Return once that many are marked as delivered."""
    while await connection.fetchval("select count(sent_at) from tidemark.outbox") < count:
        pass


async def test_a_commit_wakes_the_delivery(pool: Database, connection: asyncpg.Connection) -> None:
    woken, sink = asyncio.Event(), Sink()
    async with delivering(pool, woken, sinks={"one": sink}, poll=HOUR):
        for _ in range(3):
            before = len(sink.taken)
            ids = await ask(pool, 5, woken)
            taken = await sink.has(before + 5)
            assert {notice.id for notice in taken[before:]} == set(ids)
        await settled(connection, 15)

    assert sink.taken[0].audience == "agent" and sink.taken[0].kind == "lead-moved"


async def test_what_nobody_announced_is_found_by_looking(pool: Database) -> None:
    sink = Sink()
    async with delivering(pool, asyncio.Event(), sinks={"one": sink}, poll=0.01):
        await ask(pool, 1)
        await sink.has(1)


async def test_each_recipient_is_told_in_order(pool: Database) -> None:
    woken, sink = asyncio.Event(), Sink()
    await ask(pool, 250)
    async with delivering(pool, woken, sinks={"one": sink}, poll=HOUR):
        taken = await sink.has(250)

    for recipient in ("a0", "a1"):
        mine = [notice.data["n"] for notice in taken if notice.recipient == recipient]
        assert mine == sorted(mine) and len(mine) == 125


async def test_a_sink_that_refuses_is_tried_again_and_the_other_is_not_told_twice(
    pool: Database, connection: asyncpg.Connection
) -> None:
    woken, good, bad = asyncio.Event(), Sink(), Sink(refusals=3)
    (id_,) = await ask(pool, 1)
    with capture_logs() as lines:
        async with delivering(pool, woken, sinks={"good": good, "bad": bad}, poll=0.01):
            await bad.has(1)
            await settled(connection, 1)

    row = await connection.fetchrow("select * from tidemark.outbox")
    assert row is not None
    assert [notice.id for notice in good.taken] == [id_]
    assert [notice.id for notice in bad.taken] == [id_], "under the same id"
    assert (row["attempts"], sorted(row["sent_by"])) == (4, ["bad", "good"])
    failed = [line for line in lines if line["event"] == "notification.failed"]
    assert [(line["sink"], line["attempt"]) for line in failed] == [("bad", n) for n in (1, 2, 3)]
    assert "secret-value" not in str(lines)


async def test_one_that_is_refused_does_not_hold_up_the_others(
    pool: Database, connection: asyncpg.Connection
) -> None:
    class Picky(Sink):
        async def send(self, notice: Notice) -> None:
            if notice.data["n"] == 0:
                raise ValueError
            await super().send(notice)

    sink = Picky()
    await ask(pool, 4)
    async with delivering(pool, asyncio.Event(), sinks={"one": sink}, retries=much_later):
        await sink.has(3)
        await settled(connection, 3)

    row = await connection.fetchrow("select * from tidemark.outbox where sent_at is null")
    assert row is not None and row["last_error"] == "ValueError" and row["data"] == '{"n": 0}'


async def test_two_deliveries_share_the_work(
    pool: Database, connection: asyncpg.Connection
) -> None:
    await ask(pool, 300)
    sink = Sink()
    async with (
        delivering(pool, asyncio.Event(), sinks={"one": sink}, poll=HOUR),
        delivering(pool, asyncio.Event(), sinks={"one": sink}, poll=HOUR),
    ):
        await settled(connection, 300)

    assert len(sink.taken) == 300


async def test_what_was_claimed_and_never_sent_is_claimed_again(pool: Database) -> None:
    outbox = Outbox(pool)
    (id_,) = await ask(pool, 1)
    (first,) = await outbox.claim(10, lease=0.0)
    assert await outbox.claim(10, lease=HOUR) != []
    assert await outbox.claim(10, lease=HOUR) == [], "the claim holds"

    assert first.notice.id == id_
    waiting, next_in = await outbox.waiting()
    assert waiting == 1 and next_in is not None and HOUR - 60 < next_in <= HOUR


async def test_what_was_delivered_long_ago_is_forgotten(
    pool: Database, connection: asyncpg.Connection
) -> None:
    await ask(pool, 3)
    await connection.execute(
        "update tidemark.outbox set sent_at = now() - interval '8 days' where data->>'n' = '0'"
    )
    await connection.execute("update tidemark.outbox set sent_at = now() where data->>'n' = '1'")
    await Outbox(pool).prune(7 * 24 * HOUR)

    kept = await connection.fetch("select data->>'n' from tidemark.outbox")
    assert sorted(n for (n,) in kept) == ["1", "2"]


async def test_delivery_waits_for_tables_that_are_not_there_yet_and_says_so_once(
    pool: Database, connection: asyncpg.Connection
) -> None:
    sink = Sink()
    waits: list[float] = []
    await ask(pool, 1)
    await connection.execute("alter table tidemark.outbox rename to elsewhere")

    async def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            await connection.execute("alter table tidemark.elsewhere rename to outbox")

    with capture_logs() as lines:
        async with delivering(pool, asyncio.Event(), sinks={"one": sink}, pause=pause):
            await sink.has(1)

    said = [line["reason"] for line in lines if line["event"] == "outbox.waiting"]
    assert len(waits) == 2
    assert said == ["the outbox refuses: UndefinedTableError 42P01"]


async def test_the_log_says_that_there_is_a_notification_and_not_what_it_holds() -> None:
    notice = Notice(uuid4(), "agent", "a1", "lead-moved", {"email": "a@b.example"})
    with capture_logs() as lines:
        async with opened(["log"], Options()) as sinks:
            await sinks["log"](notice)

    assert [line["event"] for line in lines] == ["notification.announced"]
    assert lines[0]["recipient"] == "a1" and "example" not in str(lines)


def test_a_sink_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="no sink 'pigeon' \\(there are: broadcast, log\\)"):
        find(["log", "pigeon"])


async def test_what_was_delivered_long_ago_goes_by_itself(
    pool: Database, connection: asyncpg.Connection
) -> None:
    woken, sink = asyncio.Event(), Sink()
    await ask(pool, 3)
    async with delivering(pool, woken, sinks={"one": sink}, poll=0.01, kept=0.0, prune_every=0.0):
        await sink.has(3)
        while await connection.fetchval("select count(*) from tidemark.outbox"):
            pass


async def test_one_recipient_is_told_one_thing_after_the_other(pool: Database) -> None:
    busy, overlapping, told = set[str](), list[Notice](), Sink()

    class Slow(Sink):
        async def send(self, notice: Notice) -> None:
            if notice.recipient in busy:
                overlapping.append(notice)
            busy.add(notice.recipient)
            await asyncio.sleep(0)
            busy.discard(notice.recipient)
            await told.send(notice)

    await ask(pool, 20)
    async with delivering(pool, asyncio.Event(), sinks={"slow": Slow()}):
        taken = await told.has(20)

    assert overlapping == []
    for recipient in ("a0", "a1"):
        numbers = [notice.data["n"] for notice in taken if notice.recipient == recipient]
        assert numbers == sorted(numbers)


async def test_whoever_takes_the_turn_finds_nothing_claimed_and_unsettled(
    pool: Database, connection: asyncpg.Connection
) -> None:
    begun, gate, turn = asyncio.Event(), asyncio.Event(), asyncio.Lock()

    class Gated(Sink):
        async def send(self, notice: Notice) -> None:
            begun.set()
            await gate.wait()

    await ask(pool, 250)
    async with delivering(pool, asyncio.Event(), sinks={"gated": Gated()}, turn=turn):
        await begun.wait()
        taking = asyncio.create_task(turn.acquire())
        gate.set()
        await taking
        row = await connection.fetchrow(
            "select count(sent_at) as sent, count(*) filter (where attempts > 0) as claimed "
            "from tidemark.outbox"
        )

    assert row is not None and tuple(row) == (100, 100), "one page of 250, and all of it settled"
