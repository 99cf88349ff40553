"""Is it the database that is away, or is the statement wrong?"""

from __future__ import annotations

import ssl

import asyncpg

# What the driver raises. What keeps us from being let in is mended by waiting or by an operator,
# never by the event.
RAISED = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # TimeoutError, gaierror and ssl.SSLError are OSErrors
)

_GONE = (
    asyncpg.PostgresConnectionError,  # 08xxx
    asyncpg.AdminShutdownError,  # 57P01
    asyncpg.CrashShutdownError,  # 57P02
    asyncpg.CannotConnectNowError,  # 57P03
    asyncpg.TooManyConnectionsError,  # 53300
    ConnectionError,
    TimeoutError,  # no answer within query_timeout
)

# The server said goodbye between two statements and the end of the stream has not come yet:
# asyncpg then waits for a word that never comes, and refuses the next statement with this.
_OUT_OF_STEP = "cannot switch to state"


def in_use(error: Exception, *, closed: bool) -> str | None:
    """Why a lent connection is of no use any more; None if the statement was at fault."""
    if isinstance(error, TimeoutError):
        return "no answer to a statement in time"
    if isinstance(error, _GONE):
        return _said(error)
    if isinstance(error, asyncpg.InterfaceError) and closed:
        return "the connection was closed"
    if isinstance(error, asyncpg.InternalClientError) and _OUT_OF_STEP in str(error):
        return "the server ended the session"
    return None


def while_connecting(error: BaseException, timeout: float) -> str:
    """Why no connection came about, with what to do where it is known."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate was not accepted ({error.verify_message}):"
            " name its authority's file with sslrootcert="
        )
    if isinstance(error, TimeoutError):
        return f"no connection within {timeout:g} s"
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):
        return "it does not speak TLS: sslmode=disable in the connection string goes without"
    return _said(error)


def _said(error: BaseException) -> str:
    """The first line of what was said. Neither driver nor server repeats a password in it."""
    lines = str(error).strip().splitlines()
    code = getattr(error, "sqlstate", None)
    return (lines[0] if lines else type(error).__name__) + (f" ({code})" if code else "")
