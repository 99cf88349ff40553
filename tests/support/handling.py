"""What does a handler ask for, given an event?"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from records.leads import Lead
from worker import Change, Effects
from worker.effects import KINDS
from worker.event import Kind
from worker.routing import load

ROUTES = load("handlers")

AGENT = "7b0c6c1e-7d5e-4c0b-9a0e-2b1f6c2d9e57"
LEAD: dict[str, Any] = {
    **dict.fromkeys(Lead.__dataclass_fields__),
    "id": "0f0c6c1e-7d5e-4c0b-9a0e-2b1f6c2d9e57",
    "first_name": "Ada",
    "last_name": "Low",
    "status": "new",
    "assigned_agent": AGENT,
    "metadata": {},
    "updated_at": "2026-11-22T14:03:11.482123+00:00",
}


def change(table: str, kind: Kind, record: dict[str, Any], old: dict[str, Any]) -> Change:
    return Change(
        id=UUID(int=7), schema="public", name=table, kind=kind, record=record, old=old
    )  # fmt: skip


async def asked(handler: Any, event: Any) -> list[Any]:
    do = Effects(event, handler.__name__)
    await handler(event, do)
    return do.asked


async def routed(event: Change, module: str) -> list[str]:
    """What each handler of the module that wants the event asks for, in order."""
    said = []
    for route in ROUTES.matching(event):
        if not route.handler_name.startswith(f"{module}."):
            continue
        do = Effects(event, route.handler_name)
        await route.handler(event, do)
        said += [
            f"{route.handler_name}: {getattr(effect, 'kind', None) or KINDS[type(effect)]}"
            for effect in do.asked
        ]
    return said
