"""Which caches are there, and which of them may be trusted now?"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ConfigError
from .recall import Recall


class Caches:
    """The caches by name, and the gaps that are open over their tables."""

    def __init__(self, caches: Iterable[Recall[Any, Any]] = ()) -> None:
        """Raises ConfigError when two caches have one name."""
        self._by_name: dict[str, Recall[Any, Any]] = {}
        self._open: Counter[str] = Counter()  # table → gaps opened and not yet closed
        for cache in caches:
            if self._by_name.setdefault(cache.name, cache) is not cache:
                raise ConfigError(f"there are two caches named {cache.name!r}")

    def __getitem__(self, name: str) -> Recall[Any, Any]:
        """Raises LookupError naming the caches that there are."""
        cache = self._by_name.get(name)
        if cache is None:
            known = ", ".join(sorted(self._by_name)) or "none"
            raise LookupError(f"there is no cache named {name!r} (known: {known})")
        return cache

    def suspend(self, tables: Iterable[str]) -> None:
        """A gap opens over these tables: their caches are emptied and keep nothing."""
        tables = frozenset(tables)
        self._open.update(tables)
        for cache in self._of(tables):
            cache.suspend()

    def resume(self, tables: Iterable[str]) -> None:
        """
        A gap closes. A cache begins again, empty, when no gap is open over any of its tables.

        The next gap may have opened before the closing of this one was handled: so they are
        counted.
        """
        tables = frozenset(tables)
        self._open.subtract(tables)
        self._open = +self._open
        for cache in self._of(tables):
            if cache.tables.isdisjoint(self._open):
                cache.resume()

    def go_offline(self) -> None:
        """Ask no database, as in a replay."""
        for cache in self._by_name.values():
            cache.go_offline()

    def _of(self, tables: frozenset[str]) -> list[Recall[Any, Any]]:
        return [cache for cache in self._by_name.values() if cache.tables & tables]


def find(*packages: str) -> Caches:
    """
    Return the caches declared in modules of these packages that have been imported.

    After the handlers are loaded that is every cache a handler can name.
    """
    found: dict[int, Recall[Any, Any]] = {}
    for name, module in sorted(sys.modules.items()):
        if name.startswith(tuple(f"{package}." for package in packages)) or name in packages:
            variables: Mapping[str, Any] = vars(module)
            found |= {id(it): it for it in variables.values() if isinstance(it, Recall)}
    return Caches(found.values())
