"""Is every event handled in order, whatever handlers and the database do?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from worker import Change, Effects, Gap, Reject, on
from worker.cache import Caches, Recall
from worker.effects import Batch
from worker.errors import DatabaseAway
from worker.event import Event
from worker.lanes import LiveLane
from worker.routing import Route, Routes
from worker.routing.declare import declared

Handler = Callable[[Any, Effects], Awaitable[None]]


class Ledger:
    """A commit that keeps what it was given; it fails with `failures` first, and waits for `go`."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.failures: list[Exception] = []
        self.waits: list[float] = []
        self.go = asyncio.Event()
        self.go.set()
        self.entered = asyncio.Event()
        self.look: Callable[[], object] = lambda: None  # at each pause

    async def commit(self, batch: Batch) -> None:
        self.entered.set()
        await self.go.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.batches.append(batch)

    async def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.look()

    @property
    def events(self) -> list[UUID]:
        return [do.event.id for batch in self.batches for do in batch.asked]

    @property
    def dead(self) -> list[tuple[str, str, int]]:
        return [
            (letter.handler, letter.reason, letter.attempts)
            for batch in self.batches
            for letter in batch.dead
        ]


@asynccontextmanager
async def running(
    ledger: Ledger, *handlers: Handler, caches: Caches | None = None, **options: Any
) -> AsyncIterator[LiveLane]:
    routes = Routes(
        Route(handler.__name__, handler, wants)
        for handler in handlers
        for wants in declared(handler)
    )
    lane = LiveLane(routes, ledger.commit, caches or Caches(), pause=ledger.pause, **options)
    task = asyncio.create_task(lane.run())
    try:
        yield lane
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def change(n: int = 0, **more: Any) -> Change:
    return Change(
        id=uuid4(), schema="public", name="leads", kind="INSERT", record={"id": n}, **more
    )


def gap(*tables: str) -> Gap:
    return Gap(
        id=uuid4(), reason="test", tables=frozenset(tables), topics=frozenset(), opened=0, closed=1
    )


async def send(lane: LiveLane, *events: Event) -> None:
    for event in events:
        await lane.receive(event)
    await lane.drain()


@on.change("public.leads")
async def count(change: Change, do: Effects) -> None:
    do.count("leads")


async def test_what_was_received_is_committed_in_order_when_drained() -> None:
    ledger = Ledger()
    events = [change(n) for n in range(500)]
    async with running(ledger, count, inbox_size=50) as lane:
        await send(lane, *events)

    assert ledger.events == [event.id for event in events]


async def test_what_arrives_during_a_commit_is_committed_together() -> None:
    ledger = Ledger()
    ledger.go.clear()
    async with running(ledger, count, batch_size=4) as lane:
        await lane.receive(change())
        await ledger.entered.wait()
        for _ in range(6):
            await lane.receive(change())
        ledger.go.set()
        await lane.drain()

    assert [len(batch.asked) for batch in ledger.batches] == [1, 4, 2]


async def test_what_is_in_hand_still_waits() -> None:
    ledger = Ledger()
    ledger.go.clear()
    async with running(ledger, count, batch_size=2) as lane:
        await lane.receive(change())
        await ledger.entered.wait()
        await lane.receive(change())

        assert lane.waiting == 2  # one of them is being committed
        ledger.go.set()
        await lane.drain()
        assert lane.waiting == 0


async def test_a_full_inbox_holds_the_reader_back() -> None:
    ledger = Ledger()
    ledger.go.clear()
    async with running(ledger, count, inbox_size=2) as lane:
        await lane.receive(change())
        await ledger.entered.wait()
        await lane.receive(change())
        await lane.receive(change())
        third = asyncio.create_task(lane.receive(change()))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not third.done()
        ledger.go.set()
        await third
        await lane.drain()

    assert len(ledger.events) == 4


async def test_large_frames_fill_the_inbox_too() -> None:
    ledger = Ledger()
    ledger.go.clear()
    async with running(ledger, count, inbox_bytes=100) as lane:
        await lane.receive(change(), 60)
        await ledger.entered.wait()
        await lane.receive(change(), 60)
        third = asyncio.create_task(lane.receive(change(), 500))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not third.done()
        ledger.go.set()
        await third  # larger than all the room there is, and taken all the same
        await lane.drain()
        await send(lane, change())

    assert len(ledger.events) == 4


async def test_three_strikes_and_the_event_is_given_up_and_the_rest_goes_on() -> None:
    ledger = Ledger()
    tries = 0

    @on.change("public.leads")
    async def breaks(change: Change, do: Effects) -> None:
        nonlocal tries
        do.count("never")
        if change.record["id"] == 1:
            tries += 1
            raise ValueError("no such thing")

    async with running(ledger, breaks, count) as lane:
        await send(lane, change(0), change(1), change(2))

    assert tries == 3
    assert ledger.dead == [("breaks", "ValueError: no such thing", 3)]
    assert [do.handler for batch in ledger.batches for do in batch.asked].count("count") == 3
    assert len(ledger.waits) == 2 and max(ledger.waits) <= 0.1


async def test_a_handler_that_recovers_leaves_one_set_of_effects() -> None:
    ledger = Ledger()
    ids: list[list[Any]] = []

    @on.change("public.leads")
    async def stumbles(change: Change, do: Effects) -> None:
        do.notify("agent", "a", "x")
        ids.append(list(do.asked))
        if len(ids) == 1:
            raise RuntimeError
        if len(ids) == 2:
            raise DatabaseAway("away")

    async with running(ledger, stumbles) as lane:
        await send(lane, change())

    assert ids[0] == ids[1] == ids[2], "another attempt asks for the same notification"
    assert [do.asked for batch in ledger.batches for do in batch.asked] == [ids[2]]


async def test_a_rejected_event_is_given_up_at_once() -> None:
    ledger = Ledger()

    @on.change("public.leads")
    async def rejects(change: Change, do: Effects) -> None:
        raise Reject("no total")

    async with running(ledger, rejects) as lane:
        await send(lane, change())

    assert ledger.dead == [("rejects", "Reject: no total", 1)]
    assert ledger.waits == []


async def test_a_handler_that_hangs_strikes_out() -> None:
    ledger = Ledger()

    @on.change("public.leads")
    async def hangs(change: Change, do: Effects) -> None:
        await asyncio.Event().wait()

    async with running(ledger, hangs, handler_seconds=0.001) as lane:
        await send(lane, change())

    assert ledger.dead == [("hangs", "TimeoutError: ", 3)]


@pytest.mark.parametrize("raised", [asyncio.CancelledError(), SystemExit(0)])
async def test_a_handler_ends_neither_the_lane_nor_the_process(raised: BaseException) -> None:
    """A task that it awaits may be cancelled by others; a library may call `sys.exit`."""

    @on.change("public.leads")
    async def overreach(change: Change, do: Effects) -> None:
        raise raised

    ledger = Ledger()
    async with running(ledger, overreach, count) as lane:
        async with asyncio.timeout(5):
            await send(lane, change())

    ((_, reason, attempts),) = ledger.dead
    assert reason.startswith("Overreached: ")
    assert attempts == 3
    assert len(ledger.events) == 1


async def test_an_absent_database_is_waited_for_and_is_no_strike() -> None:
    ledger = Ledger()
    ledger.failures = [DatabaseAway("away") for _ in range(10)]
    reads = 0

    @on.change("public.leads")
    async def reads_first(change: Change, do: Effects) -> None:
        nonlocal reads
        reads += 1
        if reads < 10:
            raise DatabaseAway("away")
        do.count("read")

    async with running(ledger, reads_first) as lane:
        await send(lane, change())

    assert reads == 10
    assert len(ledger.waits) == 19 and max(ledger.waits) <= 10
    assert len(ledger.events) == 1 and ledger.dead == []


async def test_it_says_what_holds_it_up_and_for_how_long() -> None:
    ledger, said = Ledger(), list[str | None]()
    ledger.failures = [DatabaseAway("read-only"), DatabaseAway("read-only")]

    async with running(ledger, count) as lane:
        ledger.look = lambda: said.append(lane.held_up)
        assert lane.held_up is None
        await send(lane, change())

        assert said == ["events wait for the database: read-only"] * 2
        assert lane.held_up is None


async def test_a_handler_that_clings_is_named() -> None:
    clinging, let_go = asyncio.Event(), asyncio.Event()

    @on.change("public.leads")
    async def cling(change: Change, do: Effects) -> None:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                clinging.set()

    ledger = Ledger()
    async with running(ledger, cling, handler_seconds=-1.0) as lane:
        await lane.receive(change())
        await clinging.wait()

        assert lane.held_up == "handler cling hangs and does not let itself be stopped"
        let_go.set()
        await lane.drain()
        assert lane.held_up is None


async def test_events_nobody_wants_are_counted_and_said() -> None:
    ledger = Ledger()
    with capture_logs() as lines:
        async with running(ledger, count) as lane:
            other = Change(id=uuid4(), schema="public", name="users", kind="DELETE")
            await send(lane, other)

    assert [(line["event"], line["table"], line["log_level"]) for line in lines] == [
        ("event.unrouted", "public.users", "debug")
    ]
    assert ledger.batches == []


async def test_each_run_of_a_handler_leaves_one_line_without_values() -> None:
    @on.change("public.leads")
    async def leaks(change: Change, do: Effects) -> None:
        raise ValueError("secret-value")

    secret = change(0)
    with capture_logs() as lines:
        async with running(Ledger(), count, leaks) as lane:
            await send(lane, secret)

    said = [(line["event"], line["handler"], line["attempt"]) for line in lines]
    assert said == [("handler.finished", "count", 1)] + [
        ("handler.failed", "leaks", attempt) for attempt in (1, 2, 3)
    ]
    assert {line["event_id"] for line in lines} == {str(secret.id)}
    assert lines[1]["error"] == "ValueError" and lines[1]["where"].endswith(" in leaks")
    assert "secret-value" not in str(lines)


async def test_a_gap_empties_caches_and_its_handlers_run_in_its_place() -> None:
    ledger = Ledger()
    seen: list[Any] = []

    async def load(key: int) -> str | None:
        return "read"

    cache: Recall[int, str] = Recall("lead", load=load, tables=("public.leads",))

    @on.change("public.leads")
    async def remembers(change: Change, do: Effects) -> None:
        seen.append(change.record["id"])
        await cache.get(change.record["id"])
        do.count("seen")

    @on.gap("public.leads")
    async def missed(gap: Gap, do: Effects) -> None:
        seen.append("gap")
        assert len(ledger.events) == 2, "what came before it is committed"
        do.count("gaps")

    async with running(ledger, remembers, missed, caches=Caches([cache])) as lane:
        await send(lane, change(0))
        assert cache.peek(0) == "read"
        ledger.go.clear()
        lane.gap_opened("test", frozenset({"public.leads"}), frozenset())
        assert cache.peek(0) is None
        for event in (change(1), gap("public.leads"), change(2)):
            await lane.receive(event)
        ledger.go.set()
        await lane.drain()

    assert seen == [0, 1, "gap", 2]
    assert cache.peek(1) is None and cache.peek(2) == "read"
