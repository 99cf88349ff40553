"""What do we ask Realtime to send us?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Wanted = Literal["*", "INSERT", "UPDATE", "DELETE"]


@dataclass(frozen=True, slots=True)
class Binding:
    """
    One entry of a join's `postgres_changes`.

    A table stands in one binding only: Realtime sends a change once for each channel that
    matches it, and nothing on the wire tells the copies apart.
    """

    schema: str
    table: str
    event: Wanted = "*"
    filter: str | None = None

    @property
    def name(self) -> str:
        return f"{self.schema}.{self.table}"


@dataclass(frozen=True, slots=True)
class Subscription:
    """
    One channel to be joined, and what is wanted of it. `topic` has no `realtime:` prefix.

    That of a `canary` brings back what we sent ourselves, and nobody else hears of it.
    """

    topic: str
    bindings: tuple[Binding, ...] = ()
    broadcast: bool = False
    presence: bool = False
    private: bool = False
    canary: bool = False

    @property
    def tables(self) -> frozenset[str]:
        return frozenset(binding.name for binding in self.bindings)
