"""What do we remember of a row, so that the database need not be asked?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from cachetools import Cache, LFUCache, LRUCache

from .. import metrics

K = TypeVar("K")
V = TypeVar("V")

ENTRIES = 1000
TTL = 300.0  # seconds
RELOADS = 3  # of a key that changes each time while it is being read


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    value: V
    version: Any
    expires: float


@dataclass(slots=True)
class Loading:
    """A key that is being read: by one loader at a time, whoever else wants it waits."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    overtaken: bool = False  # an event touched the key after the loader began


class Recall(Generic[K, V]):
    """
    A cache of one kind of thing, filled by its loader and by events.

    `load` reads a key from the database and answers None where there is nothing; absence is
    not remembered. `tables` (`public.leads`) are those it is made from: a gap in one of them
    empties it, and nothing is kept while the gap is open. `version` tells of a value how new
    it is: a put of an older one loses. Keeps at most `entries`, for `ttl` seconds, and pushes
    out the least recently (`lru`) or least frequently (`lfu`) used.
    """

    def __init__(
        self,
        name: str,
        *,
        load: Callable[[K], Awaitable[V | None]],
        tables: tuple[str, ...],
        version: Callable[[V], Any] | None = None,
        keep: Literal["lru", "lfu"] = "lru",
        entries: int = ENTRIES,
        ttl: float = TTL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.tables = frozenset(tables)
        self._load = load
        self._version = version
        self._ttl = ttl
        self._clock = clock
        self._held: Cache[K, Entry[V]] = (LRUCache if keep == "lru" else LFUCache)(entries)
        self._loading: dict[K, Loading] = {}
        self._storing = True
        self._offline = False
        self._hits = metrics.cache_reads.labels(name, "hit")
        self._misses = metrics.cache_reads.labels(name, "miss")
        self._evictions = metrics.cache_evictions.labels(name)
        self._gauge = metrics.cache_entries.labels(name)

    async def get(self, key: K) -> V | None:
        """
        Return the value, read with the loader where it is not held; None where there is none.

        Raises what the loader raises (DatabaseAway while the database is away).
        """
        entry = self._fresh(key)
        if entry is not None:
            self._hits.inc()
            return entry.value
        self._misses.inc()
        if self._offline:
            return None
        loading = self._loading.setdefault(key, Loading())
        loading.waiting += 1
        try:
            async with loading.lock:
                return await self._load_once(key, loading)
        finally:
            loading.waiting -= 1
            if not loading.waiting:
                self._loading.pop(key, None)

    def peek(self, key: K) -> V | None:
        """Return the value if it is held; asks nobody."""
        entry = self._fresh(key)
        return None if entry is None else entry.value

    def put(self, key: K, value: V) -> None:
        """Keep the value, unless a newer one is held or a gap is open."""
        self._overtake(key)
        if not self._storing:
            return
        version = self._version_of(value)
        held = self._fresh(key)
        if held is None or not _older(version, held.version):
            self._store(key, value, version)

    def drop(self, key: K) -> None:
        """Forget the key."""
        self._overtake(key)
        self._held.pop(key, None)
        self._gauge.set(len(self._held))

    def clear(self) -> None:
        """Forget everything, and what is being read now too."""
        for key in self._loading:
            self._overtake(key)
        self._held.clear()
        self._gauge.set(0)

    def suspend(self) -> None:
        """Forget everything and keep nothing until `resume`: events may be missing."""
        self._storing = False
        self.clear()

    def resume(self) -> None:
        """Begin again, empty: what was read before may be older than what was missed."""
        self.clear()
        self._storing = True

    def go_offline(self) -> None:
        """Ask the loader no more: `get` answers None for what is not held, as in a replay."""
        self._offline = True

    @property
    def size(self) -> int:
        """How many entries are held. Not `__len__`: an empty cache must not be false."""
        return len(self._held)

    async def _load_once(self, key: K, loading: Loading) -> V | None:
        for _ in range(RELOADS):
            entry = self._fresh(key)  # somebody else was quicker, or an event brought it
            if entry is not None:
                return entry.value
            loading.overtaken = False
            value = await self._load(key)
            if not loading.overtaken:
                if value is not None and self._storing:
                    self._store(key, value, self._version_of(value))
                return value
        # It changes faster than it can be read: true when it was read, too old to be kept.
        entry = self._fresh(key)
        return value if entry is None else entry.value

    def _fresh(self, key: K) -> Entry[V] | None:
        entry = self._held.get(key)
        if entry is None:
            return None
        if entry.expires <= self._clock():
            self._held.pop(key, None)
            return None
        return entry

    def _store(self, key: K, value: V, version: Any) -> None:
        if key not in self._held and len(self._held) >= self._held.maxsize:
            self._evictions.inc()
        self._held[key] = Entry(value, version, self._clock() + self._ttl)
        self._gauge.set(len(self._held))

    def _version_of(self, value: V) -> Any:
        return None if self._version is None else self._version(value)

    def _overtake(self, key: K) -> None:
        loading = self._loading.get(key)
        if loading is not None:
            loading.overtaken = True


def _older(version: Any, held: Any) -> bool:
    return version is not None and held is not None and bool(version < held)
