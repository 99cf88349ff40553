"""Is this change one that the handler wants?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..event import Change, Row

Verdict = bool | None  # None: it cannot be known from what was sent
Test = Callable[[Change], Verdict]

_MISSING = object()

# Realtime cuts these to their first character or bit (see decision 0007): two values that look
# the same may differ.
_CUT_TYPES = frozenset({"bpchar", "bit", "_bpchar", "_bit"})


@dataclass(frozen=True, slots=True)
class Predicate:
    """
    A question about a change, answered True, False, or None where it cannot be known.

    Combine with `&`, `|` and `~`. Only a definite False keeps a change from its handler, so
    what cannot be known loses nothing: a row whose columns were left out (an unchanged TOAST
    value, a row over 1 MiB), an old row without REPLICA IDENTITY FULL.
    """

    test: Test
    words: str
    # Columns that must have these values for a True; what may be pushed down to Realtime.
    required: tuple[tuple[str, Any], ...] = ()

    def __call__(self, change: Change) -> Verdict:
        return self.test(change)

    def sentence(self) -> str:
        """Its words, without the brackets around the whole."""
        outer = self.words.startswith("(") and self.words.endswith(")")
        return self.words[1:-1] if outer else self.words

    def __and__(self, other: Predicate) -> Predicate:
        first, second = self.test, other.test

        def both(change: Change) -> Verdict:
            one = first(change)
            if one is False:
                return False
            two = second(change)
            return two if one or two is False else None

        return Predicate(both, f"({self.words} and {other.words})", self.required + other.required)

    def __or__(self, other: Predicate) -> Predicate:
        first, second = self.test, other.test

        def one_of_them(change: Change) -> Verdict:
            one = first(change)
            if one:
                return True
            two = second(change)
            return two if one is False or two else None

        return Predicate(one_of_them, f"({self.words} or {other.words})")

    def __invert__(self) -> Predicate:
        test = self.test

        def opposite(change: Change) -> Verdict:
            verdict = test(change)
            return None if verdict is None else not verdict

        return Predicate(opposite, f"not {self.words}")


def changed(*columns: str) -> Predicate:
    """
    Whether at least one of these columns differs between the old row and the new one.

    INSERT, READ, DELETE: True, the row came or went with all its columns. UPDATE: needs
    REPLICA IDENTITY FULL, otherwise it cannot be known (None) for columns outside the key.
    TRUNCATE: None. Raises TypeError when no column is named.
    """
    if not columns:
        raise TypeError("changed() needs at least one column")

    def test(change: Change) -> Verdict:
        if change.kind != "UPDATE":
            return None if change.kind == "TRUNCATE" else True
        verdict: Verdict = False
        for column in columns:
            one = _differs(change, column)
            if one:
                return True
            if one is None:
                verdict = None
        return verdict

    return Predicate(test, f"{' or '.join(columns)} changed")


def where(**values: Any) -> Predicate:
    """
    Whether the row has all these values, compared as JSON carries them (None is NULL).

    INSERT, UPDATE, READ: the new row. DELETE: the old row. TRUNCATE: None.
    Raises TypeError when no column is named.
    """
    wanted = _named("where", values)

    def test(change: Change) -> Verdict:
        if change.kind == "TRUNCATE":
            return None
        return _has_all(change.old if change.kind == "DELETE" else change.record, wanted, change)

    return Predicate(test, _words("is", wanted), wanted)


def was(**values: Any) -> Predicate:
    """
    Whether the row had all these values before the change.

    UPDATE, DELETE: the old row. INSERT, READ: False, there was none. TRUNCATE: None.
    Raises TypeError when no column is named.
    """
    wanted = _named("was", values)

    def test(change: Change) -> Verdict:
        if change.kind in ("INSERT", "READ"):
            return False
        if change.kind == "TRUNCATE":
            return None
        return _has_all(change.old, wanted, change)

    return Predicate(test, _words("was", wanted))


def either(**values: Any) -> Predicate:
    """
    Whether the new row has, or the old row had, all these values: it enters, stays or leaves.

    UPDATE: both rows are asked. INSERT, READ: the new row. DELETE: the old row. TRUNCATE: None.
    Raises TypeError when no column is named.
    """
    return where(**values) | was(**values)


def one_of(column: str, values: Collection[Any]) -> Predicate:
    """
    Whether the row's `column` has one of these values; the row is the one `where` asks.

    Raises TypeError when there are no values.
    """
    if not values or isinstance(values, str):
        raise TypeError("one_of() needs a collection of values")
    choices = [where(**{column: value}) for value in values]
    tests = [choice.test for choice in choices]

    def test(change: Change) -> Verdict:
        verdicts = [test(change) for test in tests]
        if True in verdicts:
            return True
        return None if None in verdicts else False

    return Predicate(test, f"{column} is one of {', '.join(map(_value, values))}")


def _named(name: str, values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    if not values:
        raise TypeError(f"{name}() needs at least one column")
    return tuple(values.items())


def _words(verb: str, wanted: tuple[tuple[str, Any], ...]) -> str:
    said = [f"{column} {verb} {_value(value)}" for column, value in wanted]
    return said[0] if len(said) == 1 else f"({' and '.join(said)})"


def _value(value: Any) -> str:
    return "null" if value is None else repr(value)


def _has_all(row: Row, wanted: tuple[tuple[str, Any], ...], change: Change) -> Verdict:
    verdict: Verdict = True
    for column, value in wanted:
        held = row.get(column, _MISSING)
        if held is _MISSING:
            verdict = None
        elif not _same(held, value):
            if _is_whole(held) or not _may_be_cut(held, value, change.columns.get(column)):
                return False
            verdict = None
    return verdict


def _same(held: Any, value: Any) -> bool:
    """Equal as JSON: to Python true is 1, to Postgres it is not."""
    return held == value and isinstance(held, bool) is isinstance(value, bool)


def _is_whole(held: Any) -> bool:
    """Say whether nothing was cut from it, whatever its type: that is not looked up for nothing."""
    return held is None or (type(held) is str and len(held) > 1)


def _may_be_cut(held: Any, value: Any, type_name: str | None) -> bool:
    if type_name not in _CUT_TYPES:
        return False
    return not (isinstance(held, str) and isinstance(value, str)) or value.startswith(held)


def _differs(change: Change, column: str) -> Verdict:
    old, new = change.old.get(column, _MISSING), change.record.get(column, _MISSING)
    if old is _MISSING or new is _MISSING:
        return None
    if old != new:
        return True
    return None if not _is_whole(new) and change.columns.get(column) in _CUT_TYPES else False
