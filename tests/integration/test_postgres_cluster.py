"""Does a PostgreSQL of our own start where it should and stop for certain?"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from local.place import find_place
from local.postgres import SUPERUSER, Cluster, PostgresError, free_port

STARTS_AND_WAITS = """
import sys
from pathlib import Path
from local.postgres import Cluster
with Cluster.running(Path(sys.argv[1]), durable=False) as cluster:
    print(cluster.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory to keep data in; as root the data lie elsewhere and have to go as well."""
    yield tmp_path
    find_place(tmp_path, 18).remove()


async def answer(cluster: Cluster, query: str) -> object:
    connection = await asyncpg.connect(cluster.url(role=SUPERUSER))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def gone(pid: int) -> bool:
    """Wait for the end of a process that is not our child."""
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(timeout=20)
    return not psutil.pid_exists(pid)


async def test_it_listens_on_loopback_only_and_asks_for_the_password(cluster: Cluster) -> None:
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for connection in psutil.Process(cluster.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }

    assert listening == {("127.0.0.1", cluster.port)}
    assert await answer(cluster, "show unix_socket_directories") == ""
    assert await answer(cluster, "show wal_level") == "logical"
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(host="127.0.0.1", port=cluster.port, user=SUPERUSER, password="guess")


def test_it_runs_as_an_unprivileged_user(cluster: Cluster) -> None:
    user = psutil.Process(cluster.pid).uids().effective

    assert user == (os.geteuid() or user) and user != 0


def test_a_kept_directory_keeps_rows_password_and_port(directory: Path) -> None:
    before = stat.S_IMODE(directory.stat().st_mode)
    with Cluster.running(directory, durable=False) as first:
        asyncio.run(answer(first, "create table kept as select 7 as number"))

    with Cluster.running(directory, durable=False) as second:
        assert asyncio.run(answer(second, "select number from kept")) == 7

    assert (first.password, first.port) == (second.password, second.port)
    assert stat.S_IMODE((directory / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == before, "nothing that exists is opened up"


def test_a_directory_may_be_given_relative_to_where_we_are(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PostgreSQL's programs are run elsewhere: where we are, its user may not be able to be.
    monkeypatch.chdir(directory.parent)

    with Cluster.running(Path(directory.name), durable=False) as cluster:
        assert asyncio.run(answer(cluster, "select 7")) == 7


def test_nothing_is_left_of_a_throw_away_one() -> None:
    with Cluster.running(durable=False) as cluster:
        files = cluster.log.parent

    assert gone(cluster.pid)
    assert not files.exists()


def test_data_of_a_temporary_directory_go_after_it(tmp_path: Path) -> None:
    with Cluster.running(tmp_path / "gone", durable=False) as cluster:
        files = cluster.log.parent
    shutil.rmtree(tmp_path / "gone")

    with Cluster.running(tmp_path / "next", durable=False):
        pass

    assert not files.exists()
    find_place(tmp_path / "next", 18).remove()


def test_a_second_process_on_the_same_directory_is_refused(directory: Path) -> None:
    with (
        Cluster.running(directory, durable=False),
        pytest.raises(PostgresError, match="in use by another process"),
        Cluster.running(directory),
    ):
        pass


def test_it_does_not_outlive_a_killed_process(directory: Path) -> None:
    command = [sys.executable, "-c", STARTS_AND_WAITS, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        while not (line := parent.stdout.readline().strip()).isdigit():  # log lines
            assert line, "it ended"
        parent.kill()

    if sys.platform == "linux":  # elsewhere nobody tells it, and the next start does
        assert gone(int(line))
    with Cluster.running(directory, durable=False) as again:
        assert asyncio.run(answer(again, "select 1")) == 1


def test_the_server_of_a_killed_run_is_stopped_first(directory: Path) -> None:
    with Cluster.running(directory, durable=False) as before:
        pass
    left = left_running(directory, before.port)

    with Cluster.running(directory, durable=False) as cluster:
        assert left.wait(timeout=20) is not None
        assert asyncio.run(answer(cluster, "select 1")) == 1


def left_running(directory: Path, port: int) -> subprocess.Popen[bytes]:
    """What a killed run leaves where the system does not end its server."""
    place = find_place(directory, 18)
    command = [str(place.bin / "postgres"), "-D", str(place.data), "-c", f"port={port}"]
    command += ["-c", "unix_socket_directories="]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, **place.as_server())
    assert server.stderr is not None
    while b"ready to accept connections" not in server.stderr.readline():
        assert server.poll() is None
    server.stderr.close()
    return server


def test_a_stale_pid_file_that_names_a_stranger_harms_nobody(directory: Path) -> None:
    with Cluster.running(directory, durable=False):
        pass
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        (find_place(directory, 18).data / "postmaster.pid").write_text(f"{stranger.pid}\n")

        with Cluster.running(directory, durable=False) as cluster:
            assert asyncio.run(answer(cluster, "select 1")) == 1

        assert stranger.poll() is None
        stranger.kill()


async def test_a_port_taken_meanwhile_is_chosen_again(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as thief:
        taken = int(thief.getsockname()[1])
        choices = iter([taken, taken, free_port(0)])

        with Cluster.running(
            directory, durable=False, choose_port=lambda _: next(choices)
        ) as cluster:
            assert cluster.port != taken
            assert await answer(cluster, "select 1") == 1


def test_a_start_that_fails_says_what_the_server_said(directory: Path) -> None:
    with (
        pytest.raises(PostgresError, match=r"did not start: .*max_connections"),
        Cluster.running(directory, durable=False, settings={"max_connections": "many"}),
    ):
        pass


def test_a_lost_password_is_said_and_the_data_left_alone(directory: Path) -> None:
    with Cluster.running(directory, durable=False) as cluster:
        data = cluster.log.with_name("data")
    (directory / "password").unlink()

    if os.geteuid() == 0:
        with Cluster.running(directory, durable=False) as anew:
            assert anew.password != cluster.password
    else:
        with pytest.raises(PostgresError, match="password is gone"), Cluster.running(directory):
            pass
        assert (data / "PG_VERSION").exists()


async def test_two_run_side_by_side(cluster: Cluster, directory: Path) -> None:
    with Cluster.running(directory, durable=False, version=16) as other:
        assert str(await answer(other, "show server_version")).startswith("16")
        assert str(await answer(cluster, "show server_version")).startswith("18")


async def test_a_frozen_session_does_not_hold_up_the_stop(directory: Path) -> None:
    with Cluster.running(directory, durable=False, stop_deadline=0.2) as cluster:
        connection = await asyncpg.connect(cluster.url(role=SUPERUSER))
        backend = await connection.fetchval("select pg_backend_pid()")
        os.kill(backend, signal.SIGSTOP)

    assert gone(cluster.pid)
    assert gone(backend)
    connection.terminate()
