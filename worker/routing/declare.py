"""Which events does a handler ask for?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, get_args

from ..effects import Effects
from ..event import Kind
from .predicates import Predicate

Handler: TypeAlias = Callable[[Any, Effects], Awaitable[None]]
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

ATTRIBUTE = "__tidemark_wants__"
KINDS: tuple[str, ...] = get_args(Kind)
# What a route without kinds asks for. TRUNCATE has no row and READ is a backfill: both only
# come by the journal, and a handler has to be written for them.
USUAL_KINDS = ("INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True, slots=True)
class WantsChanges:
    """Changes of these tables (`schema.name`), of these kinds, that the predicate lets through."""

    tables: tuple[str, ...]
    kinds: tuple[str, ...]
    when: Predicate | None = None
    key: tuple[str, ...] = ()

    def mistakes(self) -> list[str]:
        found = [] if self.tables else ["it names no table"]
        for name in self.tables:
            found += _table_mistakes(name)
        for kind in self.kinds:
            if kind not in KINDS:
                found.append(f"{kind!r} is no kind of change ({', '.join(KINDS)})")
        if self.when is not None and not isinstance(self.when, Predicate):
            found.append("when= is not a predicate such as changed('status') or where(city='X')")
        return found


@dataclass(frozen=True, slots=True)
class WantsBroadcasts:
    """Broadcast messages of a topic; `event` is `*` for all of them."""

    topic: str
    event: str = "*"
    private: bool = False

    def mistakes(self) -> list[str]:
        return _topic_mistakes(self.topic)


@dataclass(frozen=True, slots=True)
class WantsPresences:
    """Who comes and goes on a topic."""

    topic: str
    private: bool = False

    def mistakes(self) -> list[str]:
        return _topic_mistakes(self.topic)


@dataclass(frozen=True, slots=True)
class WantsGaps:
    """Gaps that touch one of these tables; all gaps where none is named."""

    tables: tuple[str, ...] = ()

    def mistakes(self) -> list[str]:
        return [mistake for name in self.tables for mistake in _table_mistakes(name)]


Wants = WantsChanges | WantsBroadcasts | WantsPresences | WantsGaps


def change(
    *tables_and_kinds: str,
    when: Predicate | None = None,
    key: str | tuple[str, ...] = (),
) -> Callable[[Decorated], Decorated]:
    """
    Route changes: `@on.change("public.leads", "UPDATE", when=changed("status"))`.

    Name one table or several, each with its schema, and any of INSERT, UPDATE, DELETE,
    TRUNCATE, READ; without a kind INSERT, UPDATE and DELETE are meant. `key` names columns
    that every old row carries (the primary key or the replica identity): `where` on them may
    be pushed down for any kind.
    """
    kinds = tuple(word for word in tables_and_kinds if word.isupper() or word.upper() in KINDS)
    tables = tuple(word for word in tables_and_kinds if word not in kinds)
    columns = (key,) if isinstance(key, str) else key
    return _attach(WantsChanges(tables, kinds or USUAL_KINDS, when, columns))


def broadcast(
    topic: str, event: str | None = None, *, private: bool = False
) -> Callable[[Decorated], Decorated]:
    """Route broadcasts of a topic, named without `realtime:`; all its events, or one."""
    return _attach(WantsBroadcasts(topic, event or "*", private))


def presence(topic: str, *, private: bool = False) -> Callable[[Decorated], Decorated]:
    """Route a topic's presence: who is there after a join, then who comes and goes."""
    return _attach(WantsPresences(topic, private))


def gap(*tables: str) -> Callable[[Decorated], Decorated]:
    """Route gaps as they close: those that touch one of these tables, or all of them."""
    return _attach(WantsGaps(tables))


def declared(function: Any) -> tuple[Wants, ...]:
    """Return what decorators asked for, in reading order; nothing for an undecorated function."""
    found = getattr(function, ATTRIBUTE, ())
    return found if isinstance(found, tuple) else ()  # an object may answer to any name


def _attach(wants: Wants) -> Callable[[Decorated], Decorated]:
    def decorate(function: Decorated) -> Decorated:
        # Decorators run from the bottom up; the topmost is to be the first.
        setattr(function, ATTRIBUTE, (wants, *declared(function)))
        return function

    return decorate


def _table_mistakes(name: str) -> list[str]:
    schema, dot, table = name.partition(".")
    if not dot:
        return [f"{name!r} names no schema: write 'public.{name}'"]
    return [] if schema and table else [f"{name!r} is not schema.table"]


def _topic_mistakes(topic: str) -> list[str]:
    if not topic:
        return ["the topic is empty"]
    if topic.startswith("realtime:"):
        return [f"{topic!r}: name the topic without 'realtime:'"]
    return []
