"""Would a platform understand what lies in deploy/?"""

from __future__ import annotations

import configparser
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.docs

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
GRACE = 10  # seconds the worker may take to drain


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def procfile() -> dict[str, str]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {name: command.strip() for name, command in (line.split(":", 1) for line in lines)}


def test_procfile_migrates_on_release_and_runs_the_worker() -> None:
    assert procfile() == {
        "release": "python -m worker migrate",
        "worker": "python -m worker run",
    }


def test_dockerfile_passes_the_linter() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--no-color", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_dockerfile_copies_every_package_the_build_names() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "packages"
    ]["find"]["include"]
    dockerfile = (DEPLOY / "Dockerfile").read_text()

    for package in packages:
        name = package.removesuffix("*")
        assert f"COPY {name} {name}\n" in dockerfile


def test_systemd_unit_starts_the_worker_and_waits_for_its_drain() -> None:
    unit = configparser.RawConfigParser(strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign] # keys are case-sensitive
    unit.read_string((DEPLOY / "tidemark.service").read_text())
    service = unit["Service"]

    shell, flag, script = shlex.split(service["ExecStart"])
    release, worker = script.split(" && exec ")
    assert (shell, flag) == ("/bin/sh", "-c")
    assert release.endswith(procfile()["release"])
    assert worker.endswith(procfile()["worker"])
    # What the migration says counts too: of ExecStartPre= systemd would try 78 again and again.
    assert "ExecStartPre" not in service
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert service["Environment"] == f"HOME={service['WorkingDirectory']}"
    assert service["KillSignal"] == "SIGTERM"
    assert seconds(service["TimeoutStopSec"]) > GRACE
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == "78"
    assert unit["Install"]["WantedBy"] == "multi-user.target"


def test_fly_manifest_runs_one_worker_and_waits_for_its_drain() -> None:
    manifest = tomllib.loads((DEPLOY / "fly.toml").read_text())

    assert manifest["processes"] == {"worker": procfile()["worker"]}
    assert manifest["deploy"]["release_command"] == procfile()["release"]
    assert (DEPLOY / manifest["build"]["dockerfile"]).is_file()
    assert manifest["kill_signal"] == "SIGTERM"
    assert seconds(manifest["kill_timeout"]) > GRACE
    assert str(manifest["checks"]["ready"]["port"]) == manifest["env"]["PORT"]
