"""Is a migration applied once, whole, and never changed behind our back?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from tests.support.databases import FreshDatabase
from worker.db import Database
from worker.db.migrate import default_directory, migrate, missing, names
from worker.errors import CommandFailed, DatabaseAway


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_first.sql").write_text("create table first (n int);\n")
    (tmp_path / "0002_second.sql").write_text(
        "create function one() returns int language plpgsql as $$ begin\n  return 1;\nend; $$;\n"
        "insert into first values (one());\n"
    )
    return tmp_path


def edit(folder: Path, change: Callable[[bytes], bytes]) -> None:
    for file in folder.glob("*.sql"):
        file.write_bytes(change(file.read_bytes()))


async def rows(database: FreshDatabase, query: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(database.url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def test_files_are_applied_once_in_the_order_of_their_names(
    database: FreshDatabase, folder: Path
) -> None:
    assert await migrate(database.url, folder) == ["0001_first.sql", "0002_second.sql"]
    (folder / "0003_third.sql").write_text("insert into first values (3);")

    assert await migrate(database.url, folder) == ["0003_third.sql"]
    assert await migrate(database.url, folder) == []
    assert await rows(database, "select n from first order by n") == [(1,), (3,)]
    assert await rows(database, "select name from tidemark.migrations order by name") == [
        ("0001_first.sql",),
        ("0002_second.sql",),
        ("0003_third.sql",),
    ]


async def test_releases_at_once_take_turns(database: FreshDatabase, folder: Path) -> None:
    (folder / "0001_first.sql").write_text("create table first (n int); select pg_sleep(0.1);")

    applied = await asyncio.gather(*(migrate(database.url, folder) for _ in range(4)))

    assert sorted(name for names in applied for name in names) == [
        "0001_first.sql",
        "0002_second.sql",
    ]
    assert await rows(database, "select n from first") == [(1,)]


async def test_a_failing_file_leaves_nothing_of_itself(
    database: FreshDatabase, folder: Path
) -> None:
    third = folder / "0003_third.sql"
    third.write_text("create table third (n int);\ninsert into third\nvalues ('x' || absent);\n")

    with pytest.raises(CommandFailed, match=r"0003_third.sql, line 3: column .*absent.*\(42703\)"):
        await migrate(database.url, folder)

    assert await rows(database, "select to_regclass('third') is null") == [(True,)]
    third.write_text("create table third (n int);")
    assert await migrate(database.url, folder) == ["0003_third.sql"]


async def test_every_file_that_was_changed_is_named(database: FreshDatabase, folder: Path) -> None:
    await migrate(database.url, folder)
    edit(folder, lambda text: text + b"-- more\n")
    (folder / "0003_third.sql").write_text("create table third (n int);")

    with pytest.raises(CommandFailed, match=r"0001_first.sql, 0002_second.sql changed"):
        await migrate(database.url, folder)

    assert await rows(database, "select to_regclass('third') is null") == [(True,)]


async def test_line_endings_are_no_change(database: FreshDatabase, folder: Path) -> None:
    await migrate(database.url, folder)
    edit(folder, lambda text: text.replace(b"\n", b"\r\n"))

    assert await migrate(database.url, folder) == []


@pytest.mark.parametrize("sql", ["begin;\nselect 1;\ncommit;", "select 1;\n  ROLLBACK ;"])
async def test_a_file_with_a_transaction_of_its_own_is_refused(
    database: FreshDatabase, folder: Path, sql: str
) -> None:
    (folder / "0003_third.sql").write_text(sql)

    with pytest.raises(CommandFailed, match=r"0003_third.sql begins or ends a transaction"):
        await migrate(database.url, folder)


async def test_a_folder_without_migrations_is_a_mistake(
    database: FreshDatabase, tmp_path: Path
) -> None:
    with pytest.raises(CommandFailed, match="has no migrations"):
        await migrate(database.url, tmp_path)


async def test_a_database_that_is_away_is_told_as_such(folder: Path) -> None:
    with pytest.raises(DatabaseAway):
        await migrate("postgres://me:hunter2@127.0.0.1:1/d", folder)


def test_the_default_folder_is_the_projects() -> None:
    assert default_directory() == Path(__file__).parents[2] / "migrations"


async def test_the_projects_own_are_applied_and_then_known(database: FreshDatabase) -> None:
    applied = await migrate(database.url)

    assert applied == sorted(file.name for file in default_directory().glob("*.sql"))
    assert await migrate(database.url) == []


async def test_it_can_be_asked_what_is_missing(database: FreshDatabase, folder: Path) -> None:
    pool = Database(database.url)
    assert await missing(pool, names(folder)) == ["0001_first.sql", "0002_second.sql"]
    await migrate(database.url, folder)
    assert await missing(pool, names(folder)) == []
    assert await missing(pool, [*names(folder), "0003_third.sql"]) == ["0003_third.sql"]
    await pool.close()
