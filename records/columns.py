"""How does a column's value become a field, from the wire as from the database?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

import orjson


def text(value: Any) -> str | None:
    """A uuid or text as text; None stays None."""
    return None if value is None else str(value)


def moment(value: Any) -> datetime | None:
    """A timestamptz: the driver's datetime or the ISO text of JSON; None for infinity."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    # The driver's infinity is a datetime without a zone.
    return value if isinstance(value, datetime) and value.tzinfo is not None else None


def mapping(value: Any) -> Mapping[str, Any]:
    """A jsonb object, which the driver hands over as text; anything else is empty."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return {}  # an event's jsonb that is a string
    return value if isinstance(value, Mapping) else {}


def texts(value: Any) -> tuple[str, ...]:
    """A text[] without its NULLs."""
    return tuple(str(each) for each in value or () if each is not None)


def whole(record: type[Any], row: Mapping[str, Any]) -> bool:
    """Whether the row has every column: Realtime leaves out what is too large."""
    return all(field.name in row for field in fields(record))
