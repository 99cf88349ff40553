"""Which columns is nobody to see?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_NAMES = 10_000  # column names remembered, whatever a sender makes up
_LONGEST_NAME = 64  # characters of one that is remembered; Postgres has none longer


class Hidden:
    """The columns nobody is to see, by name in any case."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(name.lower() for name in names)
        self._shown: set[str] = set()  # names met that are not hidden

    def columns_of(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row without hidden columns: the same object when it has none."""
        # One pass at C speed: as a rule a row's names were all met before.
        if self._shown.issuperset(row):
            return row
        return {name: value for name, value in row.items() if not self._hides(name)}

    def anywhere_in(self, value: Any) -> Any:
        """Return JSON of any shape without the keys of that name, at any depth."""
        if type(value) is dict:
            shown = self.columns_of(value)
            return {key: self.anywhere_in(inner) for key, inner in shown.items()}
        if type(value) is list:
            return [self.anywhere_in(inner) for inner in value]
        return value

    def mentions(self, text: bytes) -> bool:
        """Say whether one of the names stands anywhere in bytes nobody can read."""
        lowered = text.lower()
        return any(name.encode() in lowered for name in self._names)

    def _hides(self, name: str) -> bool:
        if str(name).lower() in self._names:  # str: a made-up column may be named 5
            return True
        if len(str(name)) <= _LONGEST_NAME:
            if len(self._shown) > _NAMES:
                self._shown.clear()
            self._shown.add(name)
        return False
