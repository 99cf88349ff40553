"""Is a failed statement the event's fault, or is it to be tried again?"""

from __future__ import annotations

import asyncpg

# SQLSTATE classes. Of the unit's own statements only these can be about what an event holds;
# all else is about the database: no room, no right, no table (the migrations have not run).
_DATA = frozenset({"21", "22", "23", "27", "2F", "38", "39", "44", "54", "P0"})

# A handler's statement is its handler's to answer for, except where waiting mends it:
# connection, deadlock, read-only after a failover, no access, resources, locks, shutdown, system.
_MENDED_BY_WAITING = frozenset({"08", "25", "28", "40", "53", "55", "57", "58", "XX"})
_NOT_MENDED = frozenset(
    {
        "25001",  # not inside a transaction, and a unit is one: VACUUM
        "55000",  # currval() of a sequence it has not used
        "57014",  # its statement_timeout: it would never end
    }
)

Failed = (asyncpg.PostgresError, asyncpg.InterfaceError)


class Guilty(Exception):
    """What was being written cannot be written. Its cause is the database's error."""


def of_ours(error: asyncpg.PostgresError) -> bool:
    """Say whether an error of the unit's own statements is about what an event holds."""
    return (error.sqlstate or "")[:2] in _DATA


def of_handlers(error: asyncpg.PostgresError | asyncpg.InterfaceError) -> bool:
    """Say whether an error of a statement that a handler asked for is that handler's fault."""
    sqlstate = getattr(error, "sqlstate", None) or ""
    return sqlstate in _NOT_MENDED or sqlstate[:2] not in _MENDED_BY_WAITING


def words(error: BaseException) -> str:
    """Name an error and its SQLSTATE, without the message: it may hold values of the row."""
    sqlstate = getattr(error, "sqlstate", None)
    return type(error).__name__ + (f" {sqlstate}" if sqlstate else "")
