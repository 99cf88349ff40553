"""How does a real PostgreSQL of our own start, and how is it stopped for certain?"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import structlog

from local.child import dying_with_us
from local.leftover import stop_leftover, sweep
from local.place import THROW_AWAY, Place, PostgresError, locked, new_file, prepare_place

__all__ = ["SUPERUSER", "Cluster", "PostgresError", "free_port"]

log = structlog.get_logger()

SUPERUSER = "supabase_admin"  # as on Supabase, where `postgres` is none

START_DEADLINE = 60.0  # seconds; recovery after a crash is part of it
STOP_DEADLINE = 10.0  # seconds for a fast shutdown, then it is told to drop everything
PORT_ATTEMPTS = 5

# Slots are cluster-wide, and each test database may want one.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_wal_senders": "32",
    "max_replication_slots": "32",
    "max_slot_wal_keep_size": "1GB",  # a slot nobody reads must not fill the disk
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "extra_float_digits": "0",  # as in Supabase's image: triggers write floats with 15 digits
    "log_parameter_max_length_on_error": "0",
    "update_process_title": "off",
}
# synchronous_commit stays on: it costs little without fsync, and a slot carries only what is
# flushed, which an asynchronous commit does up to 0.2 s late.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running server. `log` is the file it writes to."""

    port: int
    log: Path
    password: str
    server: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Of its postmaster."""
        return self.server.pid

    def check(self) -> None:
        """Raises PostgresError when it has ended without being told to."""
        if (status := self.server.poll()) is not None:
            how = (
                f"was killed by {signal.Signals(-status).name}" if status < 0 else "ended by itself"
            )
            raise PostgresError(f"PostgreSQL {how}")

    def url(self, database: str = "postgres", role: str = "postgres") -> str:
        """A connection URL with the password in it; the roles of `prepare` share one password."""
        return (
            f"postgresql://{quote(role, safe='')}:{quote(self.password, safe='')}"
            f"@127.0.0.1:{self.port}/{quote(database, safe='')}"
        )

    @classmethod
    @contextlib.contextmanager
    def running(
        cls,
        directory: Path | None = None,
        *,
        durable: bool = True,
        version: int = 18,
        settings: Mapping[str, str] | None = None,
        choose_port: Callable[[int], int] | None = None,
        stop_deadline: float = STOP_DEADLINE,
    ) -> Iterator[Cluster]:
        """
        Start a server, stop it at the end. Blocks for about a second; raises PostgresError.

        With a `directory` its data and password are kept there (as root: the password there, the
        data under /var/lib/tidemark, since the server's user may not be able to enter it). Without
        one everything is thrown away. `durable=False` is for tests: fast, and a crash of the
        machine loses the data. `settings` are added to the server's configuration.
        `choose_port` is given the port of the last run (0: none) and returns the one to try.
        `stop_deadline`: seconds that sessions have to end before they are killed.

        Enter it in a thread that lives as long as the server should: on Linux the server is told
        to stop when that thread ends, which is how it cannot outlive a killed process.
        """
        sweep(version)
        keep = directory is not None
        home = (directory or Path(tempfile.mkdtemp(prefix=THROW_AWAY))).resolve()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(home):
            place = prepare_place(home, version)
            try:
                options = SETTINGS | ({} if durable else NOT_DURABLE) | dict(settings or {})
                with _serving(place, options, choose_port or free_port, stop_deadline) as cluster:
                    yield cluster
            finally:
                if not keep:
                    place.remove()


@contextlib.contextmanager
def _serving(
    place: Place,
    settings: Mapping[str, str],
    choose_port: Callable[[int], int],
    stop_deadline: float,
) -> Iterator[Cluster]:
    began = time.monotonic()
    try:
        stop_leftover(place)
        password = _initialised(place)
        server, port = _started(place, settings, choose_port)
    except OSError as error:
        raise PostgresError(f"PostgreSQL cannot be started: {error}") from error
    try:
        log.info("postgres.started", port=port, seconds=round(time.monotonic() - began, 2))
        yield Cluster(port, place.log, password, server)
    finally:
        _stop(server, stop_deadline)
        log.info("postgres.stopped", port=port)


def _initialised(place: Place) -> str:
    """Run initdb unless it was done; return the password, which stands in a file only we read."""
    secret = place.home / "password"
    if place.data.exists() and secret.exists():
        return secret.read_text().strip()
    if place.data.exists() and place.files == place.home:
        raise PostgresError(f"{secret} is gone; without it the data beside it cannot be used")
    # As root the data of a directory that was removed: gone for whoever removed it.
    shutil.rmtree(place.data, ignore_errors=True)
    password = secrets.token_urlsafe(24)
    handed = place.files / "initdb-password"
    _write(handed, password)
    place.give(handed)
    try:
        _initdb(place, handed)
    finally:
        handed.unlink()
    _write(secret, password)
    place.new_data.rename(place.data)  # only now: half an initdb is no data
    return password


def _write(path: Path, secret: str) -> None:
    with os.fdopen(new_file(path), "w") as file:
        file.write(secret)


def _initdb(place: Place, password_file: Path) -> None:
    shutil.rmtree(place.new_data, ignore_errors=True)
    command = [
        str(place.bin / "initdb"),
        f"--pgdata={place.new_data}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--no-instructions",
        "--no-sync",
    ]
    if "pginstall18" in place.bin.parts:
        # UTF-8 upper and lower case without asking the operating system, which may not know how.
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    done = subprocess.run(command, capture_output=True, text=True, **place.as_server())
    if done.returncode:
        raise PostgresError(f"initdb failed: {_last_words(done.stderr or done.stdout)}")


def _started(
    place: Place, settings: Mapping[str, str], choose_port: Callable[[int], int]
) -> tuple[subprocess.Popen[bytes], int]:
    deadline = time.monotonic() + START_DEADLINE
    remembered = place.home / "port"
    wanted = int(remembered.read_text()) if remembered.exists() else 0
    for _ in range(PORT_ATTEMPTS):
        port = choose_port(wanted)
        server = _launch(place, {**settings, "port": str(port)})
        try:
            if _ready(place, server, deadline):
                _write(remembered, str(port))
                return server, port
        except BaseException:
            _stop(server)
            raise
        said = place.log.read_text(errors="replace")
        if "could not bind" not in said:
            raise PostgresError(f"PostgreSQL did not start: {_last_words(said)}")
        wanted = 0  # somebody took the port between our choosing it and the server's binding it
    raise PostgresError(f"no port stayed free in {PORT_ATTEMPTS} attempts")


def free_port(wanted: int) -> int:
    """`wanted` if nobody listens there, else any: old URLs stay good where they can."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            # As PostgreSQL does: connections of the last run still in TIME_WAIT are no hindrance.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise PostgresError("no port of 127.0.0.1 is free")


def _launch(place: Place, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    command = [str(place.bin / "postgres"), "-D", str(place.data)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with os.fdopen(new_file(place.log), "ab") as output:
        place.give(place.log)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C in the terminal is for us: we stop it in order
            preexec_fn=dying_with_us(signal.SIGQUIT),  # the stop that nothing can delay
            **place.as_server(),
        )


def _ready(place: Place, server: subprocess.Popen[bytes], deadline: float) -> bool:
    """True once it takes connections, False when it ended; raises PostgresError at the deadline."""
    while server.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            lines = (place.data / "postmaster.pid").read_text().splitlines()
            if lines[:1] == [str(server.pid)] and lines[7:8] and lines[7].strip() == "ready":
                return True
        if time.monotonic() > deadline:
            said = _last_words(place.log.read_text(errors="replace"))
            raise PostgresError(f"PostgreSQL was not ready after {START_DEADLINE:.0f} s: {said}")
        time.sleep(0.01)
    return False


def _stop(server: subprocess.Popen[bytes], patience: float = STOP_DEADLINE) -> None:
    """Fast shutdown; when that hangs (a frozen session) immediate; then the hard way."""
    for how, seconds in ((signal.SIGINT, patience), (signal.SIGQUIT, 1.0)):
        if server.poll() is None:
            server.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(seconds)
            return
    # Every session is a process group of its own, so each has to be named.
    for process in psutil.Process(server.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    server.kill()
    server.wait()


def _last_words(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return " / ".join(lines[-5:]) or "it said nothing"
