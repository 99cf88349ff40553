"""Do the commands do what they say, and leave with the status they promise?"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.acceptance.process import HANG_SECONDS, worker_process
from tests.acceptance.realtime import be_realtime, join, say_change
from tests.integration.scripted import Peer, scripted
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


REACTING = '''
"""What the tests' deployment does about events."""

from worker import Change, Effects, on


@on.change("public.leads")
async def lead_kept(change: Change, do: Effects) -> None:
    """The change's id keeps it from being written twice."""
    do.audit(change)
'''


async def record_one_change(folder: Path) -> Path:
    """Record one change in `folder` and end the recording by a signal."""
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine" / "__init__.py").write_text(REACTING)
    heard = asyncio.Event()

    async def one_change_heard(peer: Peer) -> None:
        await say_change(peer, *await join(peer))
        for _ in range(2):  # between two heartbeats the client reads
            while (frame := await peer.read())[3] != "heartbeat":
                await peer.answer(frame)
            await peer.answer(frame)
        heard.set()
        await be_realtime(peer)

    async with scripted(one_change_heard) as url:
        settings = {
            "HANDLERS": "mine",
            "HEARTBEAT_SECONDS": "0.2",
            "SUPABASE_URL": url,
            "SUPABASE_KEY": "sb_secret_hunter2",
            "HIDDEN_COLUMNS": "email",
        }
        arguments = ("record", "--for", "1h", "--out", "heard.jsonl")
        async with worker_process(*arguments, folder=folder, settings=settings) as worker:
            async with asyncio.timeout(HANG_SECONDS):
                await heard.wait()
            worker.send(signal.SIGINT)

            assert await worker.ends() == 0
            assert worker.said[-1]["event"] == "recording.finished", "it had to be abandoned"
            assert "hunter2" not in worker.story()
    return folder / "heard.jsonl"


async def test_what_was_recorded_can_be_replayed_and_compared(tmp_path: Path) -> None:
    heard = (await record_one_change(tmp_path)).read_text()
    assert "hunter2" not in heard

    settings = {"HANDLERS": "mine"}
    async with worker_process("replay", "heard.jsonl", folder=tmp_path, settings=settings) as first:
        assert await first.ends() == 0
        (line,) = [line for line in first.output.splitlines() if "lead_kept" in line]
        assert '"effect":"audit"' in line
    (tmp_path / "as.expected").write_text(first.output)
    arguments = ("replay", "heard.jsonl", "--expect", "as.expected")
    async with worker_process(*arguments, folder=tmp_path, settings=settings) as same:
        assert (await same.ends(), same.output) == (0, "")
    (tmp_path / "mine" / "__init__.py").write_text(REACTING.replace("do.audit(change)", "pass"))
    async with worker_process(*arguments, folder=tmp_path, settings=settings) as other:
        assert await other.ends() == 1
        assert "INSERT of public.leads" in other.output


# No file of this process grows beyond 4 KiB: that is as good as a full disk.
FULL = """
import resource

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
"""


async def test_a_disk_that_is_full_ends_a_recording(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text(REACTING + FULL)

    async def many_changes(peer: Peer) -> None:
        topic, ids = await join(peer)
        for _ in range(100):
            await say_change(peer, topic, ids)
        await be_realtime(peer)

    async with scripted(many_changes) as url:
        settings = {"HANDLERS": "mine", "SUPABASE_URL": url, "SUPABASE_KEY": "sb_secret_hunter2"}
        arguments = ("record", "--for", "1h", "--out", "heard.jsonl")
        async with worker_process(*arguments, folder=tmp_path, settings=settings) as worker:
            assert await worker.ends() == 1
            assert worker.text == "tidemark: heard.jsonl: File too large\n"


async def test_a_recording_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text(REACTING)
    arguments, settings = ("replay", "none.jsonl"), {"HANDLERS": "mine"}
    async with worker_process(*arguments, folder=tmp_path, settings=settings) as worker:
        assert await worker.ends() == 1
        assert worker.text.startswith("tidemark: none.jsonl")
        assert "Traceback" not in worker.text


async def test_a_time_that_is_none_is_a_matter_of_usage(tmp_path: Path) -> None:
    arguments = ("record", "--for", "soon", "--out", "heard.jsonl")
    async with worker_process(*arguments, folder=tmp_path, settings={}) as worker:
        assert await worker.ends() == 2
        assert "not a length of time" in " ".join(worker.text.split())


async def test_a_command_that_is_none_is_a_matter_of_usage(tmp_path: Path) -> None:
    async with worker_process("fly", folder=tmp_path, settings={}) as worker:
        assert await worker.ends() == 2
        assert "No such command 'fly'" in worker.text


async def test_help_names_every_command(tmp_path: Path) -> None:
    async with worker_process("--help", folder=tmp_path, settings={}) as worker:
        assert await worker.ends() == 0
        for command in ("run", "migrate", "routes", "record", "replay"):
            assert command in worker.output
