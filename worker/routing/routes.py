"""Which handler wants which event?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..event import Broadcast, Change, Event, Presence
from ..subscription import Subscription
from . import channels
from .declare import (
    Handler,
    Wants,
    WantsBroadcasts,
    WantsChanges,
    WantsGaps,
    WantsPresences,
)
from .predicates import Predicate, Test
from .pushdown import pushed_down


@dataclass(frozen=True, slots=True)
class Description:
    """One line of `routes`: the event, when (empty: always), the handler, what is pushed down."""

    event: str
    when: str
    handler: str
    filter: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """This handler wants these events."""

    handler_name: str  # `lead_notices.lead_moved`: module and function, without the package
    handler: Handler
    wants: Wants

    def describe(self) -> Description:
        """Say it in words, for people."""
        wants, name = self.wants, self.handler_name
        if isinstance(wants, WantsChanges):
            event = f"{', '.join(wants.tables)}: {', '.join(wants.kinds)}"
            when = wants.when.sentence() if wants.when else ""
            return Description(event, when, name, pushed_down(wants) or "")
        if isinstance(wants, WantsBroadcasts):
            return Description(f"broadcast {wants.topic}: {wants.event}", "", name)
        if isinstance(wants, WantsPresences):
            return Description(f"presence {wants.topic}", "", name)
        return Description(f"gap {', '.join(wants.tables)}".rstrip(), "", name)


class Routes:
    """All routes there are, in the order in which their handlers run."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Raises ConfigError when routes contradict each other."""
        self.all = tuple(routes)
        self._wanted = channels.wanted([route.wants for route in self.all])
        self._changes: dict[tuple[str, str, str], list[tuple[Test | None, Route]]] = {}
        self._repeated: set[tuple[str, str, str]] = set()  # where a handler has several routes
        self._broadcasts: dict[str, list[tuple[str, Route]]] = {}
        self._presences: dict[str, list[Route]] = {}
        self._gaps: list[tuple[frozenset[str], Route]] = []
        for route in self.all:
            self._add(route, route.wants)

    @property
    def tables(self) -> frozenset[str]:
        """Every table that a route names for changes, as `schema.name`."""
        wants = [route.wants for route in self.all]
        return frozenset(
            name for want in wants if isinstance(want, WantsChanges) for name in want.tables
        )

    def wanted(self) -> tuple[Subscription, ...]:
        """Return the channels to be joined so that every route gets its events."""
        return self._wanted

    def matching(self, event: Event) -> Sequence[Route]:
        """Return the routes that want the event, in order, at most one for each handler."""
        if isinstance(event, Change):
            key = (event.schema, event.name, event.kind)
            changes = self._changes.get(key)
            if changes is None:
                return ()
            found = [route for test, route in changes if test is None or test(event) is not False]
            return found if key not in self._repeated else _once_each(found)
        if isinstance(event, Broadcast):
            wanting = self._broadcasts.get(event.topic, ())
            return _once_each([route for name, route in wanting if name in ("*", event.event)])
        if isinstance(event, Presence):
            return _once_each(self._presences.get(event.topic, ()))
        return _once_each(
            [route for tables, route in self._gaps if not tables or tables & event.tables]
        )

    def _add(self, route: Route, wants: Wants) -> None:
        if isinstance(wants, WantsChanges):
            for table in wants.tables:
                schema, _, name = table.partition(".")
                for kind in wants.kinds:
                    self._add_changes((schema, name, kind), route, wants.when)
        elif isinstance(wants, WantsBroadcasts):
            self._broadcasts.setdefault(wants.topic, []).append((wants.event, route))
        elif isinstance(wants, WantsPresences):
            self._presences.setdefault(wants.topic, []).append(route)
        elif isinstance(wants, WantsGaps):
            self._gaps.append((frozenset(wants.tables), route))

    def _add_changes(self, key: tuple[str, str, str], route: Route, when: Predicate | None) -> None:
        changes = self._changes.setdefault(key, [])
        if any(route.handler_name == other.handler_name for _, other in changes):
            self._repeated.add(key)
        changes.append((None if when is None else when.test, route))


def _once_each(routes: Sequence[Route]) -> Sequence[Route]:
    """A handler with several routes that match still runs once."""
    if len(routes) < 2:
        return routes
    return list({route.handler_name: route for route in routes}.values())
