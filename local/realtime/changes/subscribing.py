"""Does the database agree to a subscription, and if not, in which words?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from local.realtime.changes.filters import Filter
from local.realtime.changes.sessions import is_lost
from local.realtime.changes.wanted import Asked, SubscriptionRefused

PUBLICATION = "supabase_realtime"
MAX_IN_VALUES = 100
KEYWORDS = ("null", "true", "false", "unknown")
NOT_PUBLISHED = (
    "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for "
    "the given connect parameters: [{}]"
)
FAILED = (
    "Unable to subscribe to changes with given parameters. An exception happened so please check "
    "your connect parameters: [{}]. Exception: {}"
)
# The names are LIKE patterns without an escape character in the real server too.
TABLES = """
select c.oid
from pg_publication_tables p
join pg_namespace n on n.nspname = schemaname
join pg_class c on c.relnamespace = n.oid and c.relname = tablename
where pubname = $1
  and schemaname like (case $2::text when '*' then '%' else $2::text end) escape ''
  and tablename like (case $3::text when '*' then '%' else $3::text end) escape ''
"""
COLUMNS = """
select attname::text as name, format_type(atttypid, null) as type, atttypid as oid
from pg_attribute
where attrelid = $1 and attnum > 0 and not attisdropped
  and has_column_privilege($2::text, attrelid, attnum, 'SELECT')
"""
PATTERN_TYPES = "select from pg_operator where oprname = '~~' and oprleft = $1"
REGEX_TYPES = """
select from pg_operator
where oprname = $2 and oprleft = $1 and oprright = $1 and oprresult = 'boolean'::regtype
"""


class _Raised(Exception):
    """What the real server's trigger raises itself."""


async def published(
    connection: asyncpg.Connection, schema: str = "*", table: str = "*"
) -> frozenset[int]:
    """The tables that a subscription to these names gets, by oid."""
    return frozenset(
        row["oid"] for row in await connection.fetch(TABLES, PUBLICATION, schema, table)
    )


async def check(
    connection: asyncpg.Connection, asked: Asked, claims: Mapping[str, Any]
) -> frozenset[int]:
    """
    The tables subscribed to, by oid.

    Raises SubscriptionRefused with the server's text: nothing is published, or why it cannot be.
    """
    try:
        tables = await published(connection, asked.schema, asked.table)
        for oid in sorted(tables):
            await _check_table(connection, oid, asked, str(claims.get("role")))
    except _Raised as raised:
        text = f"ERROR P0001 (raise_exception) {raised}"
        raise SubscriptionRefused(FAILED.format(asked, text)) from raised
    except asyncpg.PostgresError as error:
        if is_lost(connection, error):
            raise
        raise SubscriptionRefused(FAILED.format(asked, in_words(error))) from error
    if not tables:
        raise SubscriptionRefused(NOT_PUBLISHED.format(asked))
    return tables


async def _check_table(connection: asyncpg.Connection, oid: int, asked: Asked, role: str) -> None:
    columns = {row["name"]: row for row in await connection.fetch(COLUMNS, oid, role)}
    for wanted in asked.filters:
        if wanted.column not in columns:
            raise _Raised(f"invalid column for filter {wanted.column}")
        column = columns[wanted.column]
        await _check_filter(connection, wanted, column["type"], column["oid"])
    for name in asked.select or ():
        if name not in columns:
            raise _Raised(f"invalid column for select {name}")


async def _check_filter(
    connection: asyncpg.Connection, wanted: Filter, kind: str, oid: int
) -> None:
    if wanted.operator == "in":
        length = f"select jsonb_array_length(to_jsonb($1::text::{kind}[]))"
        if (await connection.fetchval(length, wanted.value) or 0) > MAX_IN_VALUES:
            raise _Raised(f"too many values for `in` filter. Maximum {MAX_IN_VALUES}")
    elif wanted.operator == "is":
        _check_keyword(wanted.value, kind)
    elif wanted.operator in ("like", "ilike"):
        _check_text(wanted, kind, await connection.fetch(PATTERN_TYPES, oid))
    elif wanted.operator in ("match", "imatch"):
        symbol = "~" if wanted.operator == "match" else "~*"
        _check_text(wanted, kind, await connection.fetch(REGEX_TYPES, oid, symbol))
        await _check_regex(connection, wanted)
    elif kind != "bytea":  # whose texts are compared as they are
        await connection.fetchval(f"select to_jsonb($1::text::{kind})", wanted.value)


def _check_keyword(value: str, kind: str) -> None:
    if value not in KEYWORDS:
        raise _Raised("invalid value for is filter: must be null, true, false, or unknown")
    if value != "null" and kind != "boolean":
        raise _Raised(f"is {value} filter requires a boolean column, got {kind}")


def _check_text(wanted: Filter, kind: str, operators: Sequence[object]) -> None:
    if not operators:
        raise _Raised(
            f"operator {wanted.operator} requires a text-compatible column type, got {kind}"
        )


async def _check_regex(connection: asyncpg.Connection, wanted: Filter) -> None:
    try:
        await connection.fetchval("select '' ~ $1::text", wanted.value)
    except asyncpg.PostgresError as error:
        raise _Raised(
            f"invalid regular expression for {wanted.operator} filter: {error.message}"
        ) from error


# Where asyncpg's class is not named after PostgreSQL's condition.
CONDITIONS = {"P0000": "plpgsql_error", "42601": "syntax_error", "XX000": "internal_error"}


def in_words(error: asyncpg.PostgresError) -> str:
    """A database error as Postgrex, the real server's driver, writes it."""
    name = type(error).__name__.removesuffix("Error")
    condition = CONDITIONS.get(error.sqlstate) or re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    parts = (
        ("table", error.table_name),
        ("column", error.column_name),
        ("constraint", error.constraint_name),
        ("hint", error.hint),
    )
    more = "".join(f"\n    {name}: {value}" for name, value in parts if value)
    detail = f"\n\n{error.detail}" if error.detail else ""
    text = f"{error.severity} {error.sqlstate} ({condition}) {error.message}"
    return text + ("\n" + more if more else "") + detail
