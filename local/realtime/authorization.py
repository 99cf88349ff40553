"""What do the policies on realtime.messages let somebody do on a private topic?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import asyncpg
import asyncpg.pool

from local.tokens import Claims

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
Extension = Literal["broadcast", "presence"]

_BECOME = """
    select set_config('role', $1, true),
           set_config('realtime.topic', $2, true),
           set_config('request.jwt.claims', $3, true),
           set_config('request.jwt.claim.role', $1, true),
           set_config('request.jwt.claim.sub', $4, true),
           set_config('request.headers', '{}', true)
"""
_INSERT = "insert into realtime.messages (topic, extension) values ($1, $2) returning id"


@dataclass(frozen=True, slots=True)
class Reading:
    """Which extension's messages of a topic may be read."""

    broadcast: bool
    presence: bool


@dataclass(slots=True)
class Rights:
    """A channel's rights; what is not in `write` was not asked yet."""

    read: Reading
    write: dict[Extension, bool]

    @classmethod
    def everything(cls) -> Rights:
        """The rights on a public channel."""
        reading = Reading(broadcast=True, presence=True)
        return cls(reading, {"broadcast": True, "presence": True})


async def may_read(pool: asyncpg.Pool, claims: Claims, topic: str) -> Reading:
    """
    Put a row of each extension in, look which of them the role sees, and roll back.

    Whoever calls decides what asyncpg's errors mean; an unknown role is one of them.
    """
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            rows = {e: await connection.fetchval(_INSERT, topic, e) for e in _EXTENSIONS}
            await become(connection, claims, topic)
            seen = await connection.fetch(
                "select extension from realtime.messages where topic = $1 and id = any($2)",
                topic,
                list(rows.values()),
            )
        finally:
            await transaction.rollback()
    extensions = {row["extension"] for row in seen}
    return Reading("broadcast" in extensions, "presence" in extensions)


async def may_write(pool: asyncpg.Pool, claims: Claims, topic: str, extension: Extension) -> bool:
    """Try to insert a row as the role, and roll back. Raises asyncpg's errors but a refusal."""
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await become(connection, claims, topic)
            # No RETURNING: that would ask for the right to read as well.
            await connection.execute(
                "insert into realtime.messages (topic, extension) values ($1, $2)",
                topic,
                extension,
            )
        except asyncpg.InsufficientPrivilegeError:
            return False
        finally:
            await transaction.rollback()
    return True


async def become(connection: Connection, claims: Claims, topic: str = "") -> None:
    """Be the token's role, with its claims, until the end of the transaction."""
    subject = claims.get("sub")
    await connection.execute(
        _BECOME, claims["role"], topic, json.dumps(dict(claims)), subject if subject else ""
    )


_EXTENSIONS: tuple[Extension, ...] = ("broadcast", "presence")
