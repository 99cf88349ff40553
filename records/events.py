"""What is a communication event?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import columns

TABLE = "public.events"


@dataclass(frozen=True, slots=True)
class Communication:
    """One thing said to a lead or by one. Ids are text, as events carry them."""

    id: str
    lead_id: str | None
    agent_id: str | None
    channel: str | None  # email, sms, whatsapp, call, note …
    direction: str | None  # inbound, outbound, internal
    content: str | None
    status: str | None
    occurred_at: datetime | None
    metadata: Mapping[str, Any]
    created_at: datetime | None
    updated_at: datetime | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Communication:
        """From a row of the database or of an event. Raises KeyError for a row without an id."""
        return cls(
            id=str(row["id"]),
            lead_id=columns.text(row.get("lead_id")),
            agent_id=columns.text(row.get("agent_id")),
            channel=row.get("channel"),
            direction=row.get("direction"),
            content=row.get("content"),
            status=row.get("status"),
            occurred_at=columns.moment(row.get("occurred_at")),
            metadata=columns.mapping(row.get("metadata")),
            created_at=columns.moment(row.get("created_at")),
            updated_at=columns.moment(row.get("updated_at")),
        )
