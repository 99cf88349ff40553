"""What does asyncpg raise where the database is away?"""

from __future__ import annotations

import asyncpg

# InternalClientError: a connection of the pool that is reset while it breaks says that "another
# operation is in progress", which is no mistake of ours.
AWAY = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError)
ERRORS = (*AWAY, asyncpg.PostgresError)
