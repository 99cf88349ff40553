"""Which migrations has this database not seen yet?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import structlog

from ..errors import CommandFailed
from .pools import Connection, Database

log = structlog.get_logger()

# Any number that nothing else locks: it spells "tidemark" in ASCII.
LOCK = int.from_bytes(b"tidemark", "big")

# A lock of the transaction, not of the session: a pooler may give each transaction another session.
_BOOKS = """
create schema if not exists tidemark;
create table if not exists tidemark.migrations (
    name text primary key,
    checksum text not null,
    applied_at timestamptz not null default now()
);
"""
_ENDS_TRANSACTION = re.compile(
    r"^\s*(?:commit|rollback|begin|start\s+transaction)(?:\s+(?:work|transaction))?\s*;",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. Line endings do not count in its checksum: git may have changed them."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def default_directory() -> Path:
    """
    The `migrations` folder that Python would import, without importing it.

    Raises CommandFailed where there is none.
    """
    spec = find_spec("migrations")
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    if not places:
        raise CommandFailed("no folder `migrations` was found; name one with MIGRATIONS")
    return Path(places[0])


async def migrate(url: str, directory: Path | None = None) -> list[str]:
    """
    Apply, in the order of their names, the files that are new; return the names of these.

    Each file is one transaction with its line in `tidemark.migrations`. Two at once take turns.
    Raises CommandFailed where a file fails, was changed after it was applied, or cannot be
    read; DatabaseAway where the database is.
    """
    migrations = read(directory or default_directory())
    database = Database(url, size=1, query_timeout=24 * 3600.0, max_retries=1)
    try:
        await _check(database, migrations)
        return [one.name for one in migrations if await _apply(database, one)]
    finally:
        await database.close()


def names(directory: Path) -> list[str]:
    """Return the names of the folder's migrations in the order they are applied."""
    return sorted(file.name for file in directory.glob("*.sql"))


async def missing(database: Database, names: Sequence[str]) -> list[str]:
    """Return those of these migrations that the database has not seen. Raises DatabaseAway."""
    async with database.connection() as connection:
        if await connection.fetchval("select to_regclass('tidemark.migrations')") is None:
            return list(names)
        rows = await connection.fetch("select name from tidemark.migrations")
    return sorted(set(names) - {row["name"] for row in rows})


def read(directory: Path) -> list[Migration]:
    """Read the folder. Raises CommandFailed where it has none or one that cannot be one."""
    try:
        files = sorted(directory.glob("*.sql"))
        found = [Migration(file.name, file.read_text(encoding="utf-8")) for file in files]
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"the migrations cannot be read: {error}") from error
    if not found:
        raise CommandFailed(f"{directory} has no migrations")
    for migration in found:
        if _ENDS_TRANSACTION.search(migration.sql):
            raise CommandFailed(
                f"{migration.name} begins or ends a transaction; a file is one transaction already"
            )
    return found


async def _check(database: Database, migrations: Sequence[Migration]) -> None:
    """Make the books if there are none. Raises CommandFailed naming every file that changed."""
    async with _turn(database) as connection:
        if await connection.fetchval("select to_regclass('tidemark.migrations')") is None:
            await connection.execute(_BOOKS)
        rows = await connection.fetch("select name, checksum from tidemark.migrations")
    applied = {row["name"]: row["checksum"] for row in rows}
    changed = [
        one.name for one in migrations if applied.get(one.name, one.checksum) != one.checksum
    ]
    if changed:
        raise CommandFailed(
            f"{', '.join(changed)} changed after being applied; undo that and add a new file"
        )
    unknown = applied.keys() - {one.name for one in migrations}
    if unknown:  # an older release after a newer one: nothing to undo, worth knowing
        log.warning("migration.unknown", names=sorted(unknown))


async def _apply(database: Database, migration: Migration) -> bool:
    """Apply it, or return False when it was: by us before, or by another while we waited."""
    async with _turn(database) as connection:
        seen = "select 1 from tidemark.migrations where name = $1"
        if await connection.fetchval(seen, migration.name):
            return False
        try:
            await connection.execute(migration.sql)
        except asyncpg.PostgresConnectionError:
            raise
        except asyncpg.PostgresError as error:
            raise CommandFailed(_what_failed(migration, error)) from error
        await connection.execute(
            "insert into tidemark.migrations (name, checksum) values ($1, $2)",
            migration.name,
            migration.checksum,
        )
    log.info("migration.applied", name=migration.name)
    return True


@asynccontextmanager
async def _turn(database: Database) -> AsyncIterator[Connection]:
    async with database.transaction() as connection:
        if not await connection.fetchval("select pg_try_advisory_xact_lock($1)", LOCK):
            log.info("migration.waiting")
            await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
        yield connection


def _what_failed(migration: Migration, error: asyncpg.PostgresError) -> str:
    place = migration.name
    if error.position is not None:
        line = migration.sql.count("\n", 0, int(error.position) - 1) + 1
        place = f"{place}, line {line}"
    return f"{place}: {error.message} ({error.sqlstate}); nothing of it was applied"
