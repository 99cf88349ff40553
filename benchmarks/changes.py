"""Which changes does a benchmark read?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

TABLES = ("leads", "events", "agents")  # of schema public; the ones in `changes`

_AT = "2026-11-22T17:53:26.247Z"

_LEAD = {
    "id": "uuid",
    "first_name": "varchar",
    "last_name": "varchar",
    "email": "varchar",
    "phone": "varchar",
    "property_address": "text",
    "city": "varchar",
    "province": "varchar",
    "postal_code": "varchar",
    "property_type": "varchar",
    "price_range": "varchar",
    "timeline": "varchar",
    "source": "varchar",
    "status": "varchar",
    "assigned_agent": "uuid",
    "metadata": "jsonb",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
}
_EVENT = {
    "id": "uuid",
    "lead_id": "uuid",
    "agent_id": "uuid",
    "event_type": "varchar",
    "channel": "varchar",
    "direction": "varchar",
    "subject": "text",
    "body": "text",
    "metadata": "jsonb",
    "occurred_at": "timestamptz",
    "created_at": "timestamptz",
}
_AGENT = {
    "id": "uuid",
    "user_id": "uuid",
    "name": "varchar",
    "email": "varchar",
    "phone": "varchar",
    "role": "varchar",
    "territory": "varchar",
    "specialties": "_text",
    "active": "bool",
    "metadata": "jsonb",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
}


def changes(count: int) -> Iterator[dict[str, Any]]:
    """
    Yield the `data` of that many changes, no two alike: 1.4 KB a frame on average.

    New leads, leads that change hands, messages with them, agents who change: as Realtime sends
    them where the tables have REPLICA IDENTITY FULL. Every fourth concerns a notification.
    """
    for number in range(count):
        yield (_new_lead, _moved_lead, _message, _moved_agent)[number % 4](number)


def _new_lead(number: int) -> dict[str, Any]:
    return _change("leads", "INSERT", _LEAD, _lead(number))


def _moved_lead(number: int) -> dict[str, Any]:
    before = _lead(number)
    after = before | {"status": "contacted", "assigned_agent": _id(7, number % 50)}
    return _change("leads", "UPDATE", _LEAD, after, before)


def _message(number: int) -> dict[str, Any]:
    row = {
        "id": _id(3, number),
        "body": "Is the house on Queen Street still to be had? We could come on Saturday.",
        "channel": "email",
        "lead_id": _id(1, number),
        "subject": "Queen Street",
        "agent_id": _id(7, number % 50),
        "metadata": {"thread": number},
        "direction": "inbound",
        "created_at": _AT,
        "event_type": "message",
        "occurred_at": _AT,
    }
    return _change("events", "INSERT", _EVENT, row)


def _moved_agent(number: int) -> dict[str, Any]:
    before = {
        "id": _id(7, number % 50),
        "name": "Ana Agent",
        "role": "agent",
        "email": "ana@example.com",
        "phone": None,
        "active": True,
        "user_id": None,
        "metadata": {"seen": number},
        "territory": "Toronto",
        "created_at": _AT,
        "updated_at": _AT,
        "specialties": ["condo", "first time"],
    }
    return _change("agents", "UPDATE", _AGENT, before | {"territory": "York"}, before)


def _lead(number: int) -> dict[str, Any]:
    return {
        "id": _id(1, number),
        "city": "Toronto",
        "email": f"zoe.{number}@example.com",
        "phone": None,
        "source": "website",
        "status": "new",
        "metadata": {"tags": ["condo", "first time"], "score": 12.5},
        "province": "ON",
        "timeline": None,
        "last_name": "O'Neil",
        "created_at": _AT,
        "first_name": "Zoë",
        "updated_at": _AT,
        "postal_code": None,
        "price_range": None,
        "property_type": None,
        "assigned_agent": None,
        "property_address": "12 Queen Street",
    }


def _id(kind: int, number: int) -> str:
    return f"{kind}0000000-0000-4000-8000-{number:012d}"


def _change(
    table: str,
    kind: str,
    columns: dict[str, str],
    record: dict[str, Any],
    old: dict[str, Any] | None = None,
) -> dict[str, Any]:
    data = {
        "schema": "public",
        "table": table,
        "type": kind,
        "columns": [{"name": name, "type": type_name} for name, type_name in columns.items()],
        "commit_timestamp": _AT,
        "errors": None,
        "record": record,
    }
    return data if old is None else data | {"old_record": old}
