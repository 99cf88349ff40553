"""How does Ctrl-C look while the interpreter still imports?"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path


def test_ctrl_c_during_imports_ends_without_a_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "worker", "--help"],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.rstrip().endswith(" concurrent.futures"):  # a hundred more follow
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()

    assert process.returncode in (-signal.SIGINT, 130)
    assert "Traceback" not in rest
