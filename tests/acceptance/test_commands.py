"""Do the commands do what they say, and leave with the status they promise?"""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.process import worker_process
from tests.support.databases import FreshDatabase


async def test_migrate_applies_what_is_new(database: FreshDatabase, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": database.url}
    async with worker_process("migrate", folder=tmp_path, settings=settings) as first:
        assert await first.ends() == 0
        assert "applied 0001_" in first.output
    async with worker_process("migrate", folder=tmp_path, settings=settings) as second:
        assert await second.ends() == 0
        assert second.output == "nothing to apply\n"


async def test_migrate_needs_a_database_url_and_nothing_else(tmp_path: Path) -> None:
    async with worker_process("migrate", folder=tmp_path, settings={}) as worker:
        assert await worker.ends() == 78
        assert worker.text == "tidemark: DATABASE_URL is not set\n"


async def test_migrate_fails_where_there_is_no_database(tmp_path: Path) -> None:
    settings = {"DATABASE_URL": "postgres://me:hunter2@127.0.0.1:1/d"}
    async with worker_process("migrate", folder=tmp_path, settings=settings) as worker:
        assert await worker.ends() == 1
        assert worker.text.startswith("tidemark: the database is away: ")
        assert "Traceback" not in worker.text
        assert "hunter2" not in worker.text


async def test_migrate_names_the_file_that_fails(database: FreshDatabase, tmp_path: Path) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "1.sql").write_text("select 1 frm t;")
    settings = {"DATABASE_URL": database.url, "MIGRATIONS": "sql"}
    async with worker_process("migrate", folder=tmp_path, settings=settings) as worker:
        assert await worker.ends() == 1
        assert worker.text.startswith("tidemark: 1.sql")
        assert "Traceback" not in worker.text


async def test_routes_lists_who_wants_what_without_any_setting(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text(ROUTED)
    async with worker_process("routes", folder=tmp_path, settings={"HANDLERS": "mine"}) as worker:
        assert await worker.ends() == 0
        line = next(line for line in worker.output.splitlines() if "public.leads" in line)
        assert "UPDATE" in line
        assert "status" in line
        assert "lead_moved" in line


ROUTED = '''
"""What the tests' deployment does about events."""

from worker import Change, Effects, changed, on


@on.change("public.leads", "UPDATE", when=changed("status"))
async def lead_moved(change: Change, do: Effects) -> None:
    """It asks for nothing, so nothing is done twice."""
'''


async def test_a_command_that_is_none_is_a_matter_of_usage(tmp_path: Path) -> None:
    async with worker_process("fly", folder=tmp_path, settings={}) as worker:
        assert await worker.ends() == 2
        assert "No such command 'fly'" in worker.text


async def test_help_names_every_command(tmp_path: Path) -> None:
    async with worker_process("--help", folder=tmp_path, settings={}) as worker:
        assert await worker.ends() == 0
        for command in ("run", "migrate", "routes"):
            assert command in worker.output
