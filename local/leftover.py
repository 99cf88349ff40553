"""What did a killed run leave behind, and how does it go?"""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import psutil
import structlog

from local.place import Place, PostgresError, abandoned, find_place, locked, orphans

log = structlog.get_logger()


def sweep(version: int) -> None:
    """Remove what killed runs left of their throw-away clusters; others may be at it too."""
    for home in abandoned():
        with contextlib.suppress(PostgresError, FileNotFoundError), locked(home):
            _remove(find_place(home, version))
    for home in orphans():
        with contextlib.suppress(FileNotFoundError):
            _remove(find_place(home, version))


def _remove(place: Place) -> None:
    stop_leftover(place)
    place.remove()
    log.info("postgres.leftover_removed")


def stop_leftover(place: Place) -> None:
    """
    Stop the server of a killed run; call it with the lock held.

    Found by its working directory, which PostgreSQL makes its data directory: the number in
    postmaster.pid may since have become another process.
    """
    pidfile = place.data / "postmaster.pid"
    if not pidfile.exists():
        return
    found = [process for process in psutil.process_iter() if _works_in(process, place.data)]
    left = found
    for how in (signal.SIGQUIT, signal.SIGKILL):
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(how)
        left = psutil.wait_procs(left, timeout=5)[1]
    if left:
        raise PostgresError(f"the server of a killed run (process {left[0].pid}) does not stop")
    pidfile.unlink(missing_ok=True)
    if found:
        log.warning("postgres.leftover_stopped", processes=len(found))


def _works_in(process: psutil.Process, data: Path) -> bool:
    try:
        return process.name().startswith("postgres") and Path(process.cwd()) == data.resolve()
    except psutil.Error:
        return False  # gone meanwhile, or another user's and so not ours
