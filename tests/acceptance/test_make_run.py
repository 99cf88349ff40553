"""Does `make run` show a newcomer the whole thing, and leave nothing running behind?"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import psutil
import pytest

from local.place import find_place

ROOT = Path(__file__).parents[2]
HANG = 60.0  # seconds
FIRST = "first event handled"


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A folder for the data; what lies elsewhere for root goes with it."""
    folder = Path(mkdtemp(dir=tmp_path))
    yield folder
    find_place(folder / "postgres", 18).remove()


@contextmanager
def demonstration(
    data: Path, *arguments: str, **env: str
) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """Run it as `make run` does; yield it with all its processes once events are handled."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "local", "run", "--data", str(data), "--rate", "40", *arguments],
        cwd=ROOT,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if FIRST in line:
                break
        print(f"{line.strip()}; {time.monotonic() - begun:.1f} s with Python's own start")
        yield process, psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.wait()


def ended(process: subprocess.Popen[str], parts: list[psutil.Process]) -> tuple[int, str]:
    """Wait for the end; return the exit status and the rest of what was said."""
    said, _ = process.communicate(timeout=HANG)
    assert [part for part in parts if part.is_running()] == [], "something is left running"
    return process.returncode, said


def figure(said: str, name: str) -> int:
    found = re.search(rf"^  {name} +(\d+)$", said, re.MULTILINE)
    assert found, f"no line for {name!r} in:\n{said}"
    return int(found[1])


@pytest.mark.timeout(4 * HANG)
def test_it_stops_by_itself_agrees_and_runs_again_on_the_same_data(data: Path) -> None:
    # Into a pipe, and on a terminal that can neither move its cursor nor show `·`.
    for env in ({}, {"TERM": "dumb", "FORCE_COLOR": "1", "PYTHONIOENCODING": "ascii"}):
        with demonstration(data, "--for", "2", **env) as (process, parts):
            assert len(parts) >= 3, "PostgreSQL, the worker and the simulator"
            status, said = ended(process, parts)

        assert status == 0, said
        assert "audit rows and changes agree" in said
        assert re.search(r"^events in \d+ . handlers run \d+ ", said, re.MULTILINE), said
        assert figure(said, "changes committed") == figure(said, "audit rows written") > 0
        for name in ("events in", "handlers run", "notifications"):
            assert figure(said, name) > 0
        assert len(said.split(FIRST)[-1].splitlines()) < 40, "more than a screen"


@pytest.mark.timeout(2 * HANG)
@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_told_to_stop_it_stops_everything_and_sums_up(data: Path, asked: signal.Signals) -> None:
    with demonstration(data) as (process, parts):
        os.killpg(process.pid, asked)  # as the terminal does
        status, said = ended(process, parts)

    assert status == 0
    assert "audit rows and changes agree" in said


@pytest.mark.timeout(2 * HANG)
def test_it_fails_when_audit_rows_and_changes_disagree(data: Path) -> None:
    # Seeded traffic at 40 changes a second deletes within a few seconds.
    with demonstration(data, "--for", "4", "--seed", "7", HANDLERS="tests.support.forgetful") as (
        process,
        parts,
    ):
        status, said = ended(process, parts)

    assert status == 1
    assert re.search(r"DISAGREE: [1-9]\d* missing", said)
