"""Under which settings does the feed talk to its database, and when has it lost it?"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import asyncpg

from local.realtime.outage import ERRORS

APPLICATION = "tidemark local changes"
# As in Supabase's image: they decide how pgoutput writes values. extra_float_digits is 0, not
# PostgreSQL's default of 1.
VALUE_SETTINGS = {
    "timezone": "UTC",
    "extra_float_digits": "0",
    "bytea_output": "hex",
    "datestyle": "iso, mdy",
    "intervalstyle": "postgres",
    "xmloption": "content",
}
# Said by a server that is about to hang up; the connection may not be closed yet.
FAREWELLS = (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)


class FeedLost(Exception):
    """The slot and everything committed before the next one begins are gone. Run it again."""


def is_lost(connection: asyncpg.Connection, error: Exception) -> bool:
    """Whether the error is the connection's and not the statement's."""
    return connection.is_closed() or isinstance(error, (*FAREWELLS, OSError))


@contextlib.asynccontextmanager
async def connected(admin_url: str) -> AsyncIterator[asyncpg.Connection]:
    """An ordinary connection; raises FeedLost when there is none, or no longer."""
    try:
        # ssl: the server has none, and a cancellation while asyncpg asks for it ends up in the log.
        connection = await asyncpg.connect(
            admin_url,
            ssl="disable",
            server_settings=VALUE_SETTINGS | {"application_name": APPLICATION},
        )
    except ERRORS as error:
        raise FeedLost(str(error)) from error
    try:
        yield connection
    except ERRORS as error:
        if is_lost(connection, error):
            raise FeedLost(str(error)) from error
        raise
    finally:
        connection.terminate()  # closing politely could wait for a server that hangs
