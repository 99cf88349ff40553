"""What is known of a table: its columns, its key, who may read it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg

from local.realtime.changes.pgoutput import Relation

BYTEA = 17
# What wal2json writes as a JSON number, so that NaN and infinities become null.
FLOATS_AND_NUMERIC = frozenset({700, 701, 1700})

TABLE = """
select c.oid::regclass::text as name, c.relrowsecurity as secured,
    coalesce((
        select array_agg(a.attname::text)
        from pg_constraint k join pg_attribute a on a.attrelid = c.oid and a.attnum = any (conkey)
        where conrelid = c.oid and contype = 'p'
    ), '{}') as key
from pg_class c
where c.oid = $1
"""
COLUMNS = """
select attname::text as name, typname::text as type
from pg_attribute join pg_type on pg_type.oid = atttypid
where attrelid = $1 and attnum > 0 order by attnum
"""
# `cast` is the type without its modifier, as walrus casts: char(5) is `character`, so char(1).
TYPES = """
select asked.oid, format_type(asked.oid, null) as cast, format_type(asked.oid, modifier) as shown
from unnest($1::oid[], $2::int[]) with ordinality asked (oid, modifier, n)
join pg_type on pg_type.oid = asked.oid order by n
"""
READABLE = """
select attname::text from pg_attribute
where attrelid = $1 and attnum > 0 and not attisdropped
  and has_column_privilege($2::text, attrelid, attnum, 'SELECT')
"""


@dataclass(frozen=True, slots=True)
class ColumnType:
    oid: int
    cast: str  # what to cast to in SQL
    shown: str  # as wal2json writes it, with the modifier


@dataclass(slots=True)
class Table:
    """A relation of the stream and what the catalog says of it now."""

    relation: Relation
    name: str  # quoted where needed, for SQL
    secured: bool  # row-level security is enabled
    key: frozenset[str]
    columns: Sequence[tuple[str, str]]  # name and typname, as they are now
    types: Sequence[ColumnType]  # of relation.columns
    readable: dict[str, frozenset[str]] = field(default_factory=dict)  # by role

    async def readable_by(self, connection: asyncpg.Connection, role: str) -> frozenset[str]:
        """The columns the role may SELECT."""
        if role not in self.readable:
            rows = await connection.fetch(READABLE, self.relation.oid, role)
            self.readable[role] = frozenset(row["attname"] for row in rows)
        return self.readable[role]


async def look_up(connection: asyncpg.Connection, relation: Relation) -> Table | None:
    """None when the table or one of its types is gone."""
    found = await connection.fetchrow(TABLE, relation.oid)
    columns = await connection.fetch(COLUMNS, relation.oid)
    types = await connection.fetch(
        TYPES,
        [column.type_oid for column in relation.columns],
        [column.type_modifier for column in relation.columns],
    )
    if found is None or len(types) != len(relation.columns):
        return None
    return Table(
        relation=relation,
        name=found["name"],
        secured=found["secured"],
        key=frozenset(found["key"]),
        columns=[(row["name"], row["type"]) for row in columns],
        types=[ColumnType(row["oid"], row["cast"], row["shown"]) for row in types],
    )
