"""What is one thing that somebody does, before it is SQL?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Verb = Literal["insert", "update", "delete"]


class Row(NamedTuple):
    """
    A row by its table and a number that the plan gave it.

    Rows of `agents` and leads with a negative number are shared by all writers; every other
    row has one writer who touches it.
    """

    table: str
    number: int


class FromNow(NamedTuple):
    """A time, so many seconds after the statement is written."""

    seconds: float


class Mailbox(NamedTuple):
    """An e-mail address that nobody else has, in this run or another."""

    number: int


Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """
    One statement. `values`: of an insert one mapping for each row, of an update a single one.

    `changes` are the rows that change in the four tables, what cascades included.
    """

    kind: str
    verb: Verb
    table: str
    numbers: tuple[int, ...]
    values: tuple[Values, ...] = ()
    changes: int = 1

    @property
    def shared(self) -> bool:
        """Other writers may be at the same row at the same time."""
        return self.verb != "insert" and (self.table == "agents" or self.numbers[0] < 0)


@dataclass(frozen=True, slots=True)
class Part:
    """Steps of a transaction; in a savepoint of their own if that is `released` or `undone`."""

    steps: tuple[Step, ...]
    savepoint: Literal["released", "undone"] | None = None


@dataclass(frozen=True, slots=True)
class Transaction:
    """`at`: seconds from the start of the run."""

    at: float
    parts: tuple[Part, ...]
    commits: bool = True

    @property
    def lasting(self) -> tuple[Step, ...]:
        """The steps that are there when it has ended."""
        if not self.commits:
            return ()
        return tuple(s for part in self.parts if part.savepoint != "undone" for s in part.steps)

    @property
    def changes(self) -> int:
        return sum(step.changes for step in self.lasting)
