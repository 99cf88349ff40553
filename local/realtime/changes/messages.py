"""Which changes are messages sent from within the database, and what do they say?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from local.realtime.changes.pgoutput import Changed

SCHEMA = "realtime"
TABLE = re.compile(r"messages(_\d{4}_\d\d_\d\d)?")  # a row arrives under its partition's name


def is_message(change: Changed) -> bool:
    relation = change.relation
    ours = relation.schema == SCHEMA and TABLE.fullmatch(relation.table)
    return bool(ours) and change.row.action == "INSERT"


def message(change: Changed) -> Mapping[str, Any]:
    """The row by column: texts as PostgreSQL writes them, but `private` and `binary_payload`."""
    columns = (column.name for column in change.relation.columns)
    row: dict[str, Any] = dict(zip(columns, change.row.new or (), strict=True))
    private = row.get("private")
    row["private"] = None if private is None else private == "t"
    binary = row.get("binary_payload")
    row["binary_payload"] = None if binary is None else bytes.fromhex(binary.removeprefix("\\x"))
    return row
