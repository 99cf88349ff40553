"""How does a test start `python -m local` as a process?"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

NAMES = ["SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL", "SUPABASE_JWT_SECRET"]
HANG = 55  # seconds; on a busy machine starting and stopping took thirty


@contextmanager
def local(*arguments: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """Run `python -m local` in a session of its own, as a terminal's foreground job is."""
    with subprocess.Popen(
        [sys.executable, "-m", "local", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if name not in NAMES} | env,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()
