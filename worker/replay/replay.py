"""What would the handlers ask for, given the frames of a recording?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import structlog

from ..cache import Caches
from ..effects import KINDS, Audit, Drop, Effect, Effects, Put
from ..errors import CommandFailed, FrameError
from ..event import Broadcast, Change, Event, Gap, Presence, plain
from ..realtime.events import CARRIERS, PREFIX, Decoder, Withheld
from ..realtime.protocol import decode
from ..routing import Routes
from .comparison import differences
from .recording import read, read_header

log = structlog.get_logger()

_NAMES = {Change: "change", Broadcast: "broadcast", Presence: "presence", Gap: "gap"}


async def replay(
    recording: Path,
    *,
    routes: Routes,
    caches: Caches,
    hidden_columns: frozenset[str],
    write: Callable[[str], None],
    expected: Path | None = None,
) -> int:
    """
    Send the frames down the way live ones go and write each event with its effects, as JSON.

    Nothing is applied but the caches' own, in memory: so a handler finds what earlier events of
    the recording put there, and None for everything else. With `expected`, the differences are
    written instead. Returns the exit status: 1 when there is a difference or, without
    `expected`, when a handler failed. Raises CommandFailed when a file cannot be read.
    """
    caches.go_offline()
    lines: list[str] = []
    failures = 0
    async for said in replayed(recording, routes, caches, hidden_columns):
        failures += any("failed" in handler for handler in said["handlers"])
        line = orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode()
        lines.append(line)
        if expected is None:
            write(line)
    if expected is None:
        log.info("replay.finished", recording=str(recording), events=len(lines), failed=failures)
        return 1 if failures else 0
    found = differences(_expected_lines(expected), lines)
    for difference in found:
        write(difference)
    log.info("replay.finished", recording=str(recording), events=len(lines), differences=len(found))
    return 1 if found else 0


async def replayed(
    recording: Path, routes: Routes, caches: Caches, hidden_columns: frozenset[str]
) -> AsyncIterator[dict[str, Any]]:
    """Yield each event of a recording with what its handlers asked for."""
    for event in events(recording, hidden_columns):
        if isinstance(event, Gap):
            caches.suspend(event.tables)
            caches.resume(event.tables)
        handlers: list[dict[str, Any]] = []
        asked: list[Effect] = []
        for route in routes.matching(event):
            effects = Effects(event, route.handler_name)
            said: dict[str, Any] = {"handler": route.handler_name}
            try:
                await route.handler(event, effects)
            # Whatever a handler raises is what there is to see: the others still run.
            except Exception as error:
                said["failed"] = f"{type(error).__name__}: {error}"
            else:
                said["effects"] = [_effect(effect) for effect in effects.asked]
                asked += effects.asked
            handlers.append(said)
        _remember(asked, caches)
        yield {"event": _event(event), "handlers": handlers}


def events(recording: Path, hidden_columns: frozenset[str]) -> Iterator[Event]:
    """Yield the events of a recording, decoded as live ones are."""
    topics = read_header(recording)
    decoder = Decoder(hidden_columns)
    for recorded in read(recording):
        if isinstance(recorded.what, Gap):
            yield recorded.what
            continue
        try:
            frame = decode(recorded.what)
            if frame.event in CARRIERS and frame.topic.removeprefix(PREFIX) in topics:
                event = decoder.read(frame, recorded.what)
                if event is not None and not isinstance(event, Withheld):
                    yield event
        except FrameError as error:
            log.warning("frame.skipped", kind=error.kind, at=recorded.at)


def _remember(asked: list[Effect], caches: Caches) -> None:
    for effect in asked:
        if isinstance(effect, Put):
            caches[effect.cache].put(effect.key, effect.value)
        elif isinstance(effect, Drop):
            caches[effect.cache].drop(effect.key)


def _event(event: Event) -> dict[str, Any]:
    said = {name: value for name, value in plain(event).items() if value not in ({}, [], None)}
    said.pop("columns", None)  # the same for each change of a table, and no handler's matter
    return {"what": _NAMES[type(event)], **said}


def _effect(effect: Effect) -> dict[str, Any]:
    said = {"effect": KINDS[type(effect)], **plain(effect)}
    if isinstance(effect, Audit) and said.pop("change"):
        said["event"] = str(effect.change.id)  # the change itself stands above
    return said


def _expected_lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandFailed(f"{path} is not what `replay` printed: it is no text") from None
