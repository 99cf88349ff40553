"""What is an agent, and how is one recalled?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from worker.cache import Recall
from worker.db import current

from . import columns

TABLE = "public.agents"


@dataclass(frozen=True, slots=True)
class Agent:
    """A profile. Ids are text, as events carry them."""

    id: str
    name: str | None
    email: str | None
    phone: str | None
    regions: tuple[str, ...]
    languages: tuple[str, ...]
    active: bool
    capacity: int | None
    last_active_at: datetime | None
    metadata: Mapping[str, Any]
    created_at: datetime | None
    updated_at: datetime | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Agent:
        """From a row of the database or of an event. Raises KeyError for a row without an id."""
        return cls(
            id=str(row["id"]),
            name=row.get("name"),
            email=row.get("email"),
            phone=row.get("phone"),
            regions=columns.texts(row.get("regions")),
            languages=columns.texts(row.get("languages")),
            active=row.get("active") is not False,
            capacity=row.get("capacity"),
            last_active_at=columns.moment(row.get("last_active_at")),
            metadata=columns.mapping(row.get("metadata")),
            created_at=columns.moment(row.get("created_at")),
            updated_at=columns.moment(row.get("updated_at")),
        )


async def _load(agent_id: str) -> Agent | None:
    async with current().connection() as connection:
        row = await connection.fetchrow("select * from public.agents where id = $1", UUID(agent_id))
    return None if row is None else Agent.from_row(dict(row))


recalled: Recall[str, Agent] = Recall(
    "agent", load=_load, tables=(TABLE,), version=lambda agent: agent.updated_at
)
