"""What is a lead, and how is one recalled?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from worker.cache import Recall
from worker.db import current

from . import columns

TABLE = "public.leads"


@dataclass(frozen=True, slots=True)
class Lead:
    """Somebody who may buy or sell. Ids are text, as events carry them."""

    id: str
    first_name: str | None
    last_name: str | None
    email: str | None
    phone: str | None
    property_address: str | None
    city: str | None
    province: str | None
    postal_code: str | None
    property_type: str | None
    price_range: str | None
    timeline: str | None
    source: str | None
    status: str | None
    assigned_agent: str | None
    metadata: Mapping[str, Any]
    created_at: datetime | None
    updated_at: datetime | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Lead:
        """From a row of the database or of an event. Raises KeyError for a row without an id."""
        return cls(
            id=str(row["id"]),
            first_name=row.get("first_name"),
            last_name=row.get("last_name"),
            email=row.get("email"),
            phone=row.get("phone"),
            property_address=row.get("property_address"),
            city=row.get("city"),
            province=row.get("province"),
            postal_code=row.get("postal_code"),
            property_type=row.get("property_type"),
            price_range=row.get("price_range"),
            timeline=row.get("timeline"),
            source=row.get("source"),
            status=row.get("status"),
            assigned_agent=columns.text(row.get("assigned_agent")),
            metadata=columns.mapping(row.get("metadata")),
            created_at=columns.moment(row.get("created_at")),
            updated_at=columns.moment(row.get("updated_at")),
        )

    @property
    def name(self) -> str:
        return f"{self.first_name or ''} {self.last_name or ''}".strip()


async def _load(lead_id: str) -> Lead | None:
    async with current().connection() as connection:
        row = await connection.fetchrow("select * from public.leads where id = $1", UUID(lead_id))
    return None if row is None else Lead.from_row(dict(row))


recalled: Recall[str, Lead] = Recall(
    "lead", load=_load, tables=(TABLE,), version=lambda lead: lead.updated_at
)
