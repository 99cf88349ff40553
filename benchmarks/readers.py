"""How long does one reader take for all the frames? Run alone in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.request import urlopen

import orjson
import uvloop

from .changes import TABLES

Reader = Callable[[str, int], Awaitable[int]]


class Stopwatch:
    """Has the frames poured, and measures from then on: seconds of the clock and of the CPU."""

    def __init__(self, url: str) -> None:
        urlopen(f"{url}/prepare").close()
        self._began = time.perf_counter(), time.process_time()
        urlopen(f"{url}/pour").close()

    def stop(self) -> dict[str, float]:
        return {
            "seconds": time.perf_counter() - self._began[0],
            "cpu_seconds": time.process_time() - self._began[1],
        }


async def bare(url: str, count: int) -> dict[str, float]:
    """`websockets` and `orjson` and nothing else: joins, and then only reads."""
    from websockets.asyncio.client import connect

    config = {"postgres_changes": [{"event": "*", "schema": "public", "table": t} for t in TABLES]}
    address = f"{url.replace('http', 'ws')}/realtime/v1/websocket?vsn=2.0.0"
    async with connect(address, compression=None, proxy=None, max_size=16 * 2**20) as connection:
        join = ["1", "1", "realtime:bench", "phx_join", {"config": config}]
        await connection.send(orjson.dumps(join), text=True)
        for _ in ("phx_reply", "system"):
            await connection.recv()
        watch, read = Stopwatch(url), 0
        async for message in connection:
            orjson.loads(message)
            read += 1
            if read == count:
                return watch.stop()
    raise AssertionError(f"the server left after {read} frames")


async def link(url: str, count: int) -> dict[str, float]:
    """The worker, ids and all, up to the routes of handlers/, which are asked and not run."""
    from worker.event import Change, Event, Gap
    from worker.realtime.link import Link
    from worker.routing.loading import load

    routes = load("handlers")
    ready, done = asyncio.Event(), asyncio.Event()
    read = routed = 0

    class Counting:
        async def receive(self, event: Event, size: int) -> None:
            nonlocal read, routed
            matching = routes.matching(event)
            if isinstance(event, Gap):
                ready.set()
                return
            assert isinstance(event, Change)
            routed += len(matching)
            read += 1
            if read == count:
                done.set()

        def gap_opened(self, reason: str, tables: frozenset[str], topics: frozenset[str]) -> None:
            pass

    # Every table of handlers/ is asked for, the ones that have no changes here too.
    connection = Link(
        url=url,
        key="key",
        subscriptions=routes.wanted(),
        listener=Counting(),
        hidden_columns=frozenset({"password_hash"}),
    )
    async with _running(connection.run()):
        while not connection.ready:
            await ready.wait()
            ready.clear()
        watch = Stopwatch(url)
        await done.wait()
        result = watch.stop()
    assert routed == expected(count), f"{routed} routes instead of {expected(count)}"
    return result


def expected(count: int) -> int:
    """How many handlers want the changes: audit all, caches leads and agents, notices leads."""
    by_kind = (2, 4, 1, 2)  # in the order of `changes`: a lead that moves is told twice
    return sum(by_kind[number % 4] for number in range(count))


async def stock(url: str, count: int) -> dict[str, float]:
    """The official client, with one callback that counts."""
    from realtime import AsyncRealtimeClient, RealtimeSubscribeStates
    from realtime.types import RealtimePostgresChangesListenEvent

    read = 0
    joined, done = asyncio.Event(), asyncio.Event()

    def count_it(change: Any) -> None:
        nonlocal read
        read += 1
        if read == count:
            done.set()

    def subscribed(state: RealtimeSubscribeStates, error: Exception | None) -> None:
        assert state == RealtimeSubscribeStates.SUBSCRIBED
        joined.set()

    client = AsyncRealtimeClient(f"{url}/realtime/v1", token="key")
    await client.connect()
    channel = client.channel("bench")
    for table in TABLES:
        every = RealtimePostgresChangesListenEvent.All
        channel.on_postgres_changes(every, count_it, schema="public", table=table)
    await channel.subscribe(subscribed)
    await joined.wait()
    watch = Stopwatch(url)
    await done.wait()
    result = watch.stop()
    await client.close()
    return result


READERS = {"bare": bare, "link": link, "stock": stock}


@contextlib.asynccontextmanager
async def _running(part: Awaitable[object]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(_awaited(part))
        yield
        task.cancel()


async def _awaited(part: Awaitable[object]) -> None:
    await part


def main(name: str, url: str, count: int, loop: str) -> None:
    factory = uvloop.new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        result = runner.run(READERS[name](url, count))
    print(orjson.dumps(result).decode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
