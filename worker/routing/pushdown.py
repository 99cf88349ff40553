"""How much of a route can Realtime filter for us without losing anything?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..subscription import Binding, Wanted
from .declare import WantsChanges

_BY_REALTIME: tuple[Wanted, ...] = ("INSERT", "UPDATE", "DELETE")

# Text that means itself to every version of the server, unquoted. Old servers take quotes
# literally: what would need them is not pushed down, it would match nothing without a word.
_PLAIN = re.compile(r"[\w@+:/'.#-]+( [\w@+:/'.#-]+)*", re.ASCII)
_COLUMN = re.compile(r"[a-z_]\w*", re.ASCII)
_EXACT = 10**15  # Realtime compares and shows float8 with 15 digits


def binding(schema: str, table: str, wants: Iterable[WantsChanges]) -> Binding | None:
    """
    Return the one binding that covers what all these routes want of a table.

    None where they only want what never comes by Realtime (TRUNCATE, READ).
    """
    routes = [route for route in wants if _kinds(route)]
    if not routes:
        return None
    kinds = {kind for route in routes for kind in _kinds(route)}
    filters = {pushed_down(route) for route in routes}
    event: Wanted = kinds.pop() if len(kinds) == 1 else "*"
    return Binding(schema, table, event, filters.pop() if len(filters) == 1 else None)


def pushed_down(wants: WantsChanges) -> str | None:
    """
    Return a Realtime filter that lets through whatever the route's predicate lets through.

    Realtime matches INSERT and UPDATE on the new row and DELETE on what it has of the old
    row, and never tells of a row that leaves a filter. So: any column for a route of INSERT
    alone, else only columns that every old row carries (`key=`). One equality at most: old
    servers read a second one as part of the first one's value.
    """
    if wants.when is None:
        return None
    only_inserts = _kinds(wants) == ["INSERT"]
    for column, value in wants.when.required:
        text = _text(value)
        if text is not None and _COLUMN.fullmatch(column) and (only_inserts or column in wants.key):
            return f"{column}=eq.{text}"
    return None


def _kinds(wants: WantsChanges) -> list[Wanted]:
    return [kind for kind in _BY_REALTIME if kind in wants.kinds]


def _text(value: Any) -> str | None:
    """
    Write a value as a filter does; None for what must not be pushed down.

    Not NULL: `is.null` on an array column ends the server's poll, with the changes of every
    table; nor lists and mappings, for the same reason. Not floats: they are rounded on the way.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < _EXACT else None
    if isinstance(value, str) and value.lower() != "null" and _PLAIN.fullmatch(value):
        return value
    return None
