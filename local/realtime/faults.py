"""What is broken on purpose just now?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


@dataclass(slots=True)
class Faults:
    """
    Switches, all off; each is looked at in one place and may be thrown while the server runs.

    A join is refused with the text in `refuse_joins`, as a reason of the protocol. `hang_up` is
    the close code that whoever is accepted gets at once.
    """

    refuse_joins: str | None = None
    answer_heartbeats: bool = True
    hang_up: int | None = None
    deliver_changes: bool = True
    thawed: asyncio.Event = field(default_factory=_open_gate)

    def freeze(self) -> None:
        """Neither read nor write any more, on any connection, until `thaw`."""
        self.thawed.clear()

    def thaw(self) -> None:
        self.thawed.set()
