"""Does `python -m local` do what its help says?"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from local.place import find_place
from tests.acceptance.local import HANG, NAMES, first_line, local
from tests.support.databases import FreshDatabase

RINGS = """
create function public.ring() returns trigger language plpgsql as $$
begin perform pg_notify('written', ''); return null; end $$;
create trigger ring after update on public.leads execute function public.ring();
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    find_place(tmp_path / "data" / "postgres", 18).remove()


async def is_superuser(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(
            await connection.fetchval("select rolsuper from pg_roles where rolname = current_user")
        )
    finally:
        await connection.close()


def below(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_up_says_where_everything_is_and_stops_it_when_asked(asked: signal.Signals) -> None:
    with local("up", "--json") as process:
        env = json.loads(first_line(process))
        started = below(process.pid)
        assert list(env) == NAMES
        assert httpx.get(env["SUPABASE_URL"]).status_code < 500
        assert asyncio.run(is_superuser(env["DATABASE_URL"])), "to set up anything"

        os.killpg(process.pid, asked)  # as the terminal does: to everybody of the session
        out, _ = process.communicate(timeout=HANG)

    assert process.returncode == 0
    assert out == ""
    assert started and not any(child.is_running() for child in started)


def test_a_data_directory_keeps_rows_keys_and_addresses(directory: Path) -> None:
    seen = []
    for _ in range(2):
        with local("up", "--data", str(directory)) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in NAMES]
            process.terminate()
            process.communicate(timeout=HANG)
        assert process.returncode == 0
        seen.append(dict(shlex.split(line)[1].split("=", 1) for line in lines))

    assert list(seen[0]) == NAMES
    assert seen[0] == seen[1]


def test_up_ends_with_a_message_when_postgres_is_killed() -> None:
    with local("up", "--json") as process:
        first_line(process)
        (postmaster, *_) = psutil.Process(process.pid).children()
        postmaster.kill()
        _, err = process.communicate(timeout=HANG)

    assert process.returncode == 1
    assert "tidemark: PostgreSQL was killed by SIGKILL\n" in err and "Traceback" not in err


def test_up_waits_and_limits_as_it_is_told() -> None:
    asked = ("--set", "max_channels=0", "--set", "join_error_delay=0", "--set", "max_connections=1")
    with local("up", "--json", *asked) as process:
        env = json.loads(first_line(process))
        url = f"{env['SUPABASE_URL'].replace('http', 'ws')}/socket/websocket?vsn=2.0.0&apikey="
        with connect(url + env["SUPABASE_KEY"], proxy=None) as one:
            one.send('["1","1","realtime:room","phx_join",{"config":{}}]')
            answer = json.loads(one.recv(4))  # seconds: less than the delay there would be
            with pytest.raises(InvalidStatus):
                connect(url + env["SUPABASE_KEY"], proxy=None)
        process.terminate()
        process.communicate(timeout=HANG)

    assert answer[4]["response"] == {"reason": "ChannelRateLimitReached: Too many channels"}


def test_up_says_why_it_cannot(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    with local("up", "--data", str(file)) as process:
        _, err = process.communicate(timeout=HANG)

    assert process.returncode == 2
    assert "is a file" in err and "Traceback" not in err


def test_simulate_prints_one_line_of_json(migrated: FreshDatabase) -> None:
    arguments = ("--rate", "50", "--for", "1", "--seed", "3", "--json")
    with local("simulate", *arguments, DATABASE_URL=migrated.url) as process:
        out, err = process.communicate(timeout=HANG)

    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["changes"] == sum(summary["by_table"].values()) >= 50


async def test_simulate_stops_when_asked_and_still_sums_up(migrated: FreshDatabase) -> None:
    written = asyncio.Event()
    connection = await asyncpg.connect(migrated.url)
    await connection.execute(RINGS)
    await connection.add_listener("written", lambda *_: written.set())

    with local("simulate", "--for", "3600", DATABASE_URL=migrated.url) as process:
        await written.wait()
        process.send_signal(signal.SIGINT)
        out, _ = await asyncio.to_thread(process.communicate, timeout=HANG)
    await connection.close()

    assert process.returncode == 0
    assert "transactions committed" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("simulate",), "DATABASE_URL"),
        (("simulate", "--database-url", "mysql://there"), "--database-url"),
        (("simulate", "--rate", "-1", "--database-url", "postgresql://h/d"), "--rate"),
        (("simulate", "--for", "soon", "--database-url", "postgresql://h/d"), "--for"),
        (("simulate", "--seed", "x", "--database-url", "postgresql://h/d"), "--seed"),
        (("up", "--set", "join_eror_delay=1"), "did you mean join_error_delay?"),
        (("fly",), "fly"),
    ],
)
def test_bad_arguments_are_named_and_the_status_is_2(arguments: tuple[str, ...], said: str) -> None:
    with local(*arguments) as process:
        out, err = process.communicate(timeout=HANG)

    assert process.returncode == 2
    assert said in err and "Traceback" not in err and out == ""
