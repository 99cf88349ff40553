"""What does a filter string of a Postgres Changes subscription ask for?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from local.realtime.changes.elixir import inspect

OPERATORS = {"eq", "neq", "lt", "lte", "gt", "gte", "in"}
OPERATORS |= {"like", "ilike", "is", "match", "imatch", "isdistinct"}


class UnreadableFilter(Exception):
    """The text is what the server puts after "Error parsing `filter` params: "."""


@dataclass(frozen=True, slots=True, order=True)
class Filter:
    column: str
    operator: str
    value: str  # for `in` an array literal: {1,2}
    negated: bool


def parse(text: str) -> tuple[Filter, ...]:
    """`a=eq.1,b=not.in.(2,3)` in the order asked; all must hold. Raise UnreadableFilter."""
    text = text.strip()
    return tuple(_condition(segment) for segment in _split(text)) if text else ()


def _split(text: str) -> Iterator[str]:
    """Split at commas that no parenthesis and no quoted value protects."""
    start, depth, quoted, previous, at = 0, 0, False, "", 0
    while at < len(text):
        character = text[at]
        if quoted and character == "\\" and at + 1 < len(text):
            at += 1
        elif character == '"' and (quoted or previous in (".", "(", ",")):
            # Anywhere else a quote is an ordinary character of the value.
            quoted = not quoted
        elif quoted:
            pass
        elif character == "(":
            depth += 1
        elif character == ")":
            depth = max(0, depth - 1)
        elif character == "," and depth == 0:
            yield text[start:at]
            start, previous = at + 1, ""
            at += 1
            continue
        previous = text[at]
        at += 1
    yield text[start:]


def _condition(segment: str) -> Filter:
    segment = segment.strip()
    if not segment:
        raise UnreadableFilter("filter must not contain empty segments (check for extra commas)")
    column, found, rest = segment.partition("=")
    if not found:
        raise UnreadableFilter(inspect([segment]))
    negated = rest.startswith("not.")
    rest = rest.removeprefix("not.")
    operator, found, value = rest.partition(".")
    if not found:
        raise UnreadableFilter(inspect([rest]))
    if operator not in OPERATORS:
        raise UnreadableFilter(inspect([operator, value]))
    return Filter(column, operator, _value(operator, value), negated)


def _value(operator: str, value: str) -> str:
    if operator != "in":
        return _unquoted(value)
    if len(value) < 2 or value[0] != "(" or value[-1] != ")":
        raise UnreadableFilter("`in` filter value must be wrapped by parentheses")
    return "{" + value[1:-1] + "}"


def _unquoted(value: str) -> str:
    """The inside of a wholly quoted value; anything else is meant literally."""
    if not value.startswith('"'):
        return value
    inside: list[str] = []
    at = 1
    while at < len(value):
        if value[at] == "\\" and at + 1 < len(value):
            at += 1
        elif value[at] == '"':
            return "".join(inside) if at == len(value) - 1 else value
        inside.append(value[at])
        at += 1
    return value
