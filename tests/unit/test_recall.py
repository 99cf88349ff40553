"""Does a cache ever answer with something older than it had?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from worker.cache import Caches, Recall
from worker.errors import ConfigError, DatabaseAway

Value = tuple[int, str]  # version, text


class Shelf:
    """What a loader reads from: it waits for `go` when told to."""

    def __init__(self) -> None:
        self.values: dict[str, Value] = {}
        self.reads = 0
        self.reading = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.error: Exception | None = None

    async def load(self, key: str) -> Value | None:
        self.reads += 1
        value = self.values.get(key)
        self.reading.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return value


def recall(shelf: Shelf, **options: Any) -> Recall[str, Value]:
    return Recall(
        "lead", load=shelf.load, tables=("public.leads",), version=lambda it: it[0], **options
    )


async def test_a_value_is_read_once_and_then_recalled() -> None:
    shelf = Shelf()
    cache = recall(shelf)
    shelf.values["a"] = (1, "one")

    assert cache.peek("a") is None
    assert await cache.get("a") == (1, "one")
    assert await cache.get("a") == (1, "one")
    assert cache.peek("a") == (1, "one")
    assert shelf.reads == 1


async def test_absence_is_not_remembered() -> None:
    shelf = Shelf()
    cache = recall(shelf)

    assert await cache.get("a") is None
    shelf.values["a"] = (1, "one")
    assert await cache.get("a") == (1, "one")


async def test_many_who_want_a_key_share_one_loader() -> None:
    shelf = Shelf()
    cache = recall(shelf)
    shelf.values["a"] = (1, "one")
    shelf.go.clear()
    asking = [asyncio.create_task(cache.get("a")) for _ in range(20)]
    await shelf.reading.wait()
    shelf.go.set()

    assert await asyncio.gather(*asking) == [(1, "one")] * 20
    assert shelf.reads == 1


async def test_whoever_waits_is_not_hurt_when_the_first_is_cancelled() -> None:
    shelf = Shelf()
    cache = recall(shelf)
    shelf.values["a"] = (1, "one")
    shelf.go.clear()
    first, second = asyncio.create_task(cache.get("a")), asyncio.create_task(cache.get("a"))
    await shelf.reading.wait()
    first.cancel()
    shelf.go.set()

    assert await second == (1, "one")
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_loader_loses_against_an_event_that_came_while_it_read() -> None:
    shelf = Shelf()
    cache = recall(shelf)
    shelf.values["a"] = (1, "old")
    shelf.go.clear()
    asking = asyncio.create_task(cache.get("a"))
    await shelf.reading.wait()
    cache.put("a", (2, "new"))
    shelf.go.set()

    assert await asking == (2, "new")
    assert cache.peek("a") == (2, "new")


async def test_what_was_dropped_while_it_was_read_is_read_again() -> None:
    shelf = Shelf()
    cache = recall(shelf)
    shelf.values["a"] = (1, "old")
    shelf.go.clear()
    asking = asyncio.create_task(cache.get("a"))
    await shelf.reading.wait()
    shelf.values["a"] = (2, "new")
    cache.drop("a")
    shelf.go.set()

    assert await asking == (2, "new")
    assert cache.peek("a") == (2, "new")
    assert shelf.reads == 2


async def test_an_older_put_loses() -> None:
    cache = recall(Shelf())
    cache.put("a", (2, "new"))
    cache.put("a", (1, "old"))

    assert cache.peek("a") == (2, "new")
    cache.put("a", (2, "as new"))
    assert cache.peek("a") == (2, "as new"), "of two equally new ones the later is right"


async def test_a_value_expires() -> None:
    now = [0.0]
    cache = recall(Shelf(), ttl=300, clock=lambda: now[0])
    cache.put("a", (1, "one"))

    now[0] = 299.9
    assert cache.peek("a") == (1, "one")
    now[0] = 300.0
    assert cache.peek("a") is None


@pytest.mark.parametrize(("keep", "gone"), [("lru", "a"), ("lfu", "b")])
async def test_the_least_used_is_pushed_out(keep: str, gone: str) -> None:
    cache = recall(Shelf(), keep=keep, entries=2)
    cache.put("a", (1, "one"))
    for _ in range(3):
        cache.peek("a")
    cache.put("b", (1, "two"))
    cache.peek("b")
    cache.put("c", (1, "three"))

    assert cache.size == 2
    assert cache.peek(gone) is None and cache.peek("c") == (1, "three")


async def test_a_gap_empties_and_nothing_is_kept_until_it_closes() -> None:
    shelf = Shelf()
    cache = recall(shelf)
    caches = Caches([cache])
    shelf.values["a"] = (1, "one")
    cache.put("a", (1, "one"))

    caches.suspend({"public.leads"})
    cache.put("a", (1, "one"))
    assert cache.peek("a") is None
    assert await cache.get("a") == (1, "one"), "it can still be read"
    assert cache.peek("a") is None

    caches.resume({"public.leads"})
    assert await cache.get("a") == (1, "one")
    assert cache.peek("a") == (1, "one")


async def test_what_was_read_before_a_gap_closed_is_not_kept_after_it() -> None:
    shelf = Shelf()
    cache = recall(shelf)
    caches = Caches([cache])
    shelf.values["a"] = (1, "old")
    caches.suspend({"public.leads"})
    shelf.go.clear()
    asking = asyncio.create_task(cache.get("a"))
    await shelf.reading.wait()
    shelf.values["a"] = (2, "new")
    caches.resume({"public.leads"})
    shelf.go.set()

    assert await asking == (2, "new")
    assert cache.peek("a") == (2, "new")


async def test_a_gap_that_opened_before_the_last_one_was_handled_stays_open() -> None:
    cache = recall(Shelf())
    caches = Caches([cache])
    caches.suspend({"public.leads"})
    caches.suspend({"public.leads"})
    caches.resume({"public.leads"})
    cache.put("a", (1, "one"))
    assert cache.peek("a") is None

    caches.resume({"public.leads"})
    cache.put("a", (1, "one"))
    assert cache.peek("a") == (1, "one")


async def test_a_gap_elsewhere_leaves_a_cache_alone() -> None:
    cache = recall(Shelf())
    cache.put("a", (1, "one"))
    Caches([cache]).suspend({"public.agents"})

    assert cache.peek("a") == (1, "one")


async def test_a_loader_that_fails_is_asked_again() -> None:
    shelf = Shelf()
    cache = recall(shelf)
    shelf.error = DatabaseAway("away")
    with pytest.raises(DatabaseAway):
        await cache.get("a")
    shelf.error = None
    shelf.values["a"] = (1, "one")

    assert await cache.get("a") == (1, "one")


async def test_offline_nobody_is_asked() -> None:
    shelf = Shelf()
    cache = recall(shelf)
    Caches([cache]).go_offline()
    shelf.values["a"] = (1, "one")

    assert await cache.get("a") is None
    cache.put("a", (2, "from an event"))
    assert await cache.get("a") == (2, "from an event")
    assert shelf.reads == 0


def test_a_cache_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(LookupError, match="no cache named 'agent' \\(known: lead\\)"):
        Caches([recall(Shelf())])["agent"]
    with pytest.raises(ConfigError, match="two caches named 'lead'"):
        Caches([recall(Shelf()), recall(Shelf())])
