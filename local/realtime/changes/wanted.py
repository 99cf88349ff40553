"""What does one binding of a `phx_join` want to see?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from local.realtime.changes.elixir import inspect, inspect_pretty
from local.realtime.changes.filters import Filter, UnreadableFilter, parse

EVENTS = ("INSERT", "UPDATE", "DELETE")
WILDCARD_SELECT = (
    "Column selection is not supported for wildcard subscriptions. "
    "Provide an explicit schema and table name."
)
BAD_SELECT = (
    "Error parsing `select` params: expected a list of column name strings, "
    'e.g. select: ["col1", "col2"]'
)
NOTHING_ASKED = (
    "No subscription params provided. Please provide at least a `schema` or `table` to "
    "subscribe to: "
)


class SubscriptionRefused(Exception):
    """`message` is the exact text of the `system` message (status `error`) the client gets."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Wanted:
    """One entry of `config.postgres_changes`; `params` is that entry as it was sent."""

    event: str
    schema: str
    table: str
    filter: str | None
    select: tuple[str, ...] | None
    id: int
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, params: Mapping[str, Any], id: int) -> Self:
        """Take any entry; what is wrong with it is said by `ChangeFeed.subscribe`."""
        select = params.get("select")
        names = tuple(c for c in select if isinstance(c, str)) if isinstance(select, list) else ()
        return cls(
            event=str(params.get("event", "*")),
            schema=str(params.get("schema", "public")),
            table=str(params.get("table", "*")),
            filter=params.get("filter"),
            select=names or None,
            id=id,
            params=params,
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """A binding that makes sense in itself; whether the database agrees is another question."""

    event: str  # INSERT, UPDATE, DELETE or *
    schema: str  # LIKE patterns, as in the real server: _ and % are wildcards; * is any
    table: str
    filters: tuple[Filter, ...]
    select: tuple[str, ...] | None

    def __str__(self) -> str:
        """As the server writes it into its error texts."""
        filters = [(f.column, f.operator, f.value, f.negated) for f in self.filters]
        select = "nil" if self.select is None else inspect_pretty(self.select)
        return (
            f"event: {self.event}, schema: {self.schema}, table: {self.table}, "
            f"filters: {inspect_pretty(filters)}, select: {select}"
        )


def read(wanted: Wanted) -> Asked:
    """Raise SubscriptionRefused with the text for whatever does not parse."""
    params = wanted.params or _params(wanted)
    select = _select(params)
    schema, table = _names(params)
    try:
        filters = parse(params["filter"]) if "filter" in params else ()
    except UnreadableFilter as error:
        raise SubscriptionRefused(f"Error parsing `filter` params: {error}") from error
    if select and "*" in (schema, table):
        raise SubscriptionRefused(WILDCARD_SELECT)
    return Asked(_event(params.get("event")), schema, table, filters, select)


def _params(wanted: Wanted) -> dict[str, Any]:
    params: dict[str, Any] = {"event": wanted.event, "schema": wanted.schema, "table": wanted.table}
    if wanted.filter is not None:
        params["filter"] = wanted.filter
    if wanted.select is not None:
        params["select"] = list(wanted.select)
    return params


def _event(event: object) -> str:
    name = event.upper() if isinstance(event, str) else "*"
    return name if name in EVENTS else "*"


def _select(params: Mapping[str, Any]) -> tuple[str, ...] | None:
    select = params.get("select")
    if isinstance(select, str):
        raise SubscriptionRefused(BAD_SELECT)
    if not isinstance(select, list):
        return None
    return tuple(name for name in select if isinstance(name, str)) or None


def _names(params: Mapping[str, Any]) -> tuple[str, str]:
    """A filter needs both names; a missing name is `public` or `*`."""
    given = {name: params[name] for name in ("schema", "table", "filter") if name in params}
    named = given.keys() & {"schema", "table"}
    complete = len(named) == 2 or (len(named) == 1 and "filter" not in given)
    if complete and all(isinstance(value, str) for value in given.values()):
        return given.get("schema", "public"), given.get("table", "*")
    if params.keys() & {"user_token", "auth_token"}:
        raise SubscriptionRefused(NOTHING_ASKED + "<redacted>")
    raise SubscriptionRefused(NOTHING_ASKED + inspect(params))
