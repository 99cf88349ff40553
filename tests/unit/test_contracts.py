"""Do the contracts of the layout bite when somebody breaks them?"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("worker", "handlers", "records", "local", "benchmarks")

# contract → the file that breaks it, and the line that does
BREACHES = {
    "the floors of worker": ("worker/event.py", "from . import settings"),
    "worker knows nobody above it": ("worker/app/running.py", "import handlers"),
    "handlers do not know each other": ("handlers/first.py", "from . import second"),
    "handlers use the front door and records": ("handlers/first.py", "import worker.db"),
    "records use the front door, worker.db and worker.cache": (
        "records/first.py",
        "import worker.unit",
    ),
    "the local stack shares no code with what is tested on it": (
        "local/realtime/serializer.py",
        "import worker.realtime.protocol",
    ),
    "nothing in local imports itself by a detour": (
        "local/realtime/switch.py",
        "from local.realtime import faults",
    ),
    "the floors of worker.realtime": ("worker/realtime/protocol.py", "from . import session"),
    "the floors of the canaries": (
        "worker/realtime/canaries/canary.py",
        "from . import beating",
    ),
    "protocol, events and session do no I/O and own no clock": (
        "worker/realtime/gaps.py",
        "import time",
    ),
}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the house with two more handlers and a record, to be broken."""
    for package in PACKAGES:
        # Other test processes compile meanwhile: a half-written .pyc is gone before it is copied.
        no_caches = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=no_caches)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in ("handlers/first.py", "handlers/second.py", "records/first.py"):
        (tmp_path / name).write_text('"""Is it so?"""\n')
    return tmp_path


def lint(house: Path) -> subprocess.CompletedProcess[str]:
    # Not the console script beside it: a script's path comes before the house on sys.path.
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache"],
        cwd=house,
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_contract_has_somebody_who_breaks_it() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]

    assert [contract["name"] for contract in settings["contracts"]] == list(BREACHES)


def test_the_house_as_it_stands_keeps_every_contract(house: Path) -> None:
    done = lint(house)

    assert done.returncode == 0, done.stdout
    for contract in BREACHES:
        assert f"{contract} KEPT" in done.stdout


@pytest.mark.parametrize("contract", BREACHES)
def test_a_breach_is_named(house: Path, contract: str) -> None:
    file, line = BREACHES[contract]
    with (house / file).open("r+") as module:  # which has to be there
        module.seek(0, 2)
        module.write(f"\n{line}\n")

    done = lint(house)

    assert done.returncode != 0
    assert f"{contract} BROKEN" in done.stdout


@pytest.mark.parametrize("package", ["worker", "worker/realtime", "worker/realtime/canaries"])
def test_a_module_on_no_floor_is_named(house: Path, package: str) -> None:
    (house / package / "helpers.py").write_text('"""What for?"""\n')

    done = lint(house)

    assert done.returncode != 0
    assert "helpers" in done.stdout
