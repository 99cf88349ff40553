"""Does the JavaScript client get onto an empty machine?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.node_packages import DOWNLOADS, ROOT, SOURCE, WANTED, installed_in

NOBODY = "http://127.0.0.1:1"  # a registry that cannot be reached
INSTALL = "import sys, pathlib; from tests.support.node_packages import *;"
INSTALL += "print(installed_in(pathlib.Path(sys.argv[1])))"


def installing(cache: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", INSTALL, cache],
        cwd=ROOT, env={**os.environ, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def lockfile() -> dict[str, Any]:
    packages: dict[str, Any] = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    return packages


def test_lockfile_names_hashes_and_no_download_addresses() -> None:
    foreign = {name: package for name, package in lockfile().items() if name}

    assert "node_modules/@supabase/realtime-js" in foreign
    assert all(package["integrity"].startswith("sha512-") for package in foreign.values())
    assert not any("://" in (SOURCE / name).read_text() for name in WANTED)


@pytest.fixture
def fetched(packages: Path, tmp_path: Path) -> Path:
    """A place to install to, for which npm has fetched before but nothing is installed."""
    place = tmp_path / "npm"
    shutil.copytree(packages.parents[1] / DOWNLOADS, place / DOWNLOADS)
    return place


def test_two_processes_install_at_once_and_need_no_network_again(fetched: Path) -> None:
    both = [installing(fetched, npm_config_offline="true") for _ in range(2)]
    said = [process.communicate() for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0]
    manifest = Path(said[0][0].strip(), "@supabase/realtime-js/package.json")
    wanted = lockfile()["node_modules/@supabase/realtime-js"]["version"]
    assert json.loads(manifest.read_text())["version"] == wanted


def test_installs_without_a_home_and_after_a_killed_attempt(fetched: Path) -> None:
    (fetched / "new/node_modules/half").mkdir(parents=True)
    process = installing(fetched, HOME="", npm_config_offline="true")
    out, err = process.communicate()

    assert process.returncode == 0, err
    assert not Path(out.strip(), "half").exists()
    assert installed_in(fetched) == Path(out.strip())


def test_a_machine_without_a_network_is_told_what_is_missing(tmp_path: Path) -> None:
    process = installing(tmp_path / "npm", npm_config_registry=NOBODY)
    _, err = process.communicate()

    assert process.returncode == 1
    assert "the first run needs a network and an npm registry. npm said:" in err
    assert {path.name for path in (tmp_path / "npm").iterdir()} == {"lock", "new", DOWNLOADS}
