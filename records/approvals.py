"""What is an approval, and how is one recalled?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from worker.cache import Recall
from worker.db import current

from . import columns

TABLE = "public.approvals"


@dataclass(frozen=True, slots=True)
class Approval:
    """
    Something one agent asks of another: pending, then decided once. Ids are text.

    `status` is pending, approved, rejected, expired or cancelled.
    """

    id: str
    kind: str | None
    subject: str | None
    lead_id: str | None
    payload: Mapping[str, Any]
    requested_by: str | None
    requested_of: str | None
    status: str | None
    decided_by: str | None
    decided_at: datetime | None
    expires_at: datetime | None
    note: str | None
    created_at: datetime | None
    updated_at: datetime | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Approval:
        """From a row of the database or of an event. Raises KeyError for a row without an id."""
        return cls(
            id=str(row["id"]),
            kind=row.get("kind"),
            subject=row.get("subject"),
            lead_id=columns.text(row.get("lead_id")),
            payload=columns.mapping(row.get("payload")),
            requested_by=columns.text(row.get("requested_by")),
            requested_of=columns.text(row.get("requested_of")),
            status=row.get("status"),
            decided_by=columns.text(row.get("decided_by")),
            decided_at=columns.moment(row.get("decided_at")),
            expires_at=columns.moment(row.get("expires_at")),
            note=row.get("note"),
            created_at=columns.moment(row.get("created_at")),
            updated_at=columns.moment(row.get("updated_at")),
        )


async def _load(approval_id: str) -> Approval | None:
    async with current().connection() as connection:
        row = await connection.fetchrow(
            "select * from public.approvals where id = $1", UUID(approval_id)
        )
    return None if row is None else Approval.from_row(dict(row))


recalled: Recall[str, Approval] = Recall(
    "approval", load=_load, tables=(TABLE,), version=lambda approval: approval.updated_at
)
