"""What does Supabase put into a database before a project uses it?"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg

SQL = Path(__file__).with_name("sql")


async def prepare(admin_url: str) -> None:
    """
    Make Supabase's roles, schemas, functions and publications in the database of `admin_url`.

    Every file of `local/sql`, in the order of names, each in a transaction; all of them may be
    applied again. The roles that log in get the password in `admin_url`, which must be a
    superuser's. Raises asyncpg.PostgresError when it is not.
    """
    connection = await asyncpg.connect(admin_url)
    try:
        # `if not exists` says what it left out, which asyncpg would turn into log lines.
        await connection.execute("set client_min_messages = warning")
        for path in sorted(SQL.glob("*.sql")):
            async with connection.transaction():
                await connection.execute(
                    "select set_config('tidemark.password', $1, true)",
                    unquote(urlsplit(admin_url).password or ""),
                )
                await connection.execute(path.read_text(encoding="utf-8"))
    finally:
        await connection.close()
