"""What does a recording look like?"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import orjson

from ..errors import CommandFailed, FrameError
from ..event import Gap
from ..hidden import Hidden
from ..realtime.protocol import (
    USER_BROADCAST,
    USER_BROADCAST_PUSH,
    decode,
    encode_user_broadcast,
    loads,
)
from ..subscription import Subscription

VERSION = 1

_FRAME = b',"frame":'


@dataclass(frozen=True, slots=True)
class Recorded:
    """One line: a frame as it came, or a gap that closed. `at` is seconds since the beginning."""

    at: float
    what: bytes | Gap


def header(subscriptions: Sequence[Subscription], recorded_at: str) -> bytes:
    """Return the first line: the version of the format and what had been joined."""
    channels = {
        wanted.topic: {"tables": sorted(wanted.tables), "private": wanted.private}
        for wanted in sorted(subscriptions, key=lambda wanted: wanted.topic)
    }
    return _line({"tidemark_recording": VERSION, "recorded_at": recorded_at, "channels": channels})


def frame_line(at: float, raw: bytes, hidden: Hidden) -> bytes:
    """
    Return the line of a frame, without hidden columns.

    A text frame stands there as it came, to the byte, so that replayed events have the ids they
    had live; only one that holds a hidden column is written anew. What cannot be read is not
    kept, only its kind and size: nobody can say what is in it.
    """
    try:
        frame = decode(raw)
    except FrameError as error:
        return _unreadable(at, error.kind, raw)
    if raw[0] > USER_BROADCAST:
        shown = _shown_text(raw, hidden)
        return _line({"at": at, "frame": orjson.Fragment(raw) if shown is None else shown})
    if raw[0] not in (USER_BROADCAST, USER_BROADCAST_PUSH) or isinstance(
        frame.payload["payload"], bytes
    ):
        return _unreadable(at, "hidden", raw) if hidden.mentions(raw) else _binary(at, raw)
    payload = frame.payload
    shown = hidden.anywhere_in(payload)
    if shown == payload and not hidden.mentions(raw):
        return _binary(at, raw)
    event, meta = payload["event"], shown.get("meta")
    return _binary(at, encode_user_broadcast(frame.topic, event, meta, shown["payload"]))


def gap_line(at: float, gap: Gap) -> bytes:
    """Return the line of a gap that closed at that time."""
    about = {
        "reason": gap.reason,
        "tables": sorted(gap.tables),
        "topics": sorted(gap.topics),
        "seconds": round(gap.closed - gap.opened, 3),
    }
    return _line({"at": at, "gap": about})


def read_header(path: Path) -> frozenset[str]:
    """
    Return the topics of a recording. Raises CommandFailed when it cannot be read or is none.
    """
    try:
        with path.open("rb") as lines:
            first = orjson.loads(next(lines, b"null"))
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}") from None
    except orjson.JSONDecodeError:
        first = None
    if not isinstance(first, dict) or "tidemark_recording" not in first:
        raise CommandFailed(f"{path} is no recording: its first line says nothing of one")
    if first["tidemark_recording"] != VERSION:
        raise CommandFailed(f"{path} has version {first['tidemark_recording']}, not {VERSION}")
    channels = first.get("channels", {})
    if not isinstance(channels, dict):
        raise CommandFailed(f"{path} names no channels in its first line")
    return frozenset(channels)


def read(path: Path) -> Iterator[Recorded]:
    """
    Yield the frames and gaps of a recording; frames that were unreadable are left out.

    Raises CommandFailed naming the first line that is not as `record` writes it.
    """
    with path.open("rb") as lines:
        next(lines, b"")
        for number, line in enumerate(lines, start=2):
            try:
                recorded = _recorded(line)
            except (ValueError, KeyError, TypeError):
                raise CommandFailed(f"{path}: line {number} is not one of a recording") from None
            if recorded is not None:
                yield recorded


def _recorded(line: bytes) -> Recorded | None:
    if not line.strip():
        return None
    said = loads(line)
    at = float(said["at"])
    if "frame" in said:
        return Recorded(at, _raw(line, said["frame"]))
    if "binary" in said:
        return Recorded(at, b64decode(said["binary"], validate=True))
    if "gap" in said:
        return Recorded(at, _gap(at, said["gap"], line))
    said["unreadable"]
    return None


def _raw(line: bytes, frame: Any) -> bytes:
    """Return the frame's bytes as they came; of a line edited by hand, as JSON is written."""
    head, _, raw = line.rstrip().partition(_FRAME)
    if raw.endswith(b"}") and head.startswith(b'{"at":') and b'"' not in head[5:]:
        return raw[:-1]
    return orjson.dumps(frame)


def _gap(at: float, about: dict[str, Any], line: bytes) -> Gap:
    return Gap(
        id=uuid5(NAMESPACE_URL, line.strip().decode()),
        reason=str(about["reason"]),
        tables=frozenset(about["tables"]),
        topics=frozenset(about["topics"]),
        opened=round(at - float(about["seconds"]), 3),
        closed=at,
    )


def _shown_text(raw: bytes, hidden: Hidden) -> list[Any] | None:
    """
    Return the frame without hidden columns; None when it has none.

    A key that stands there twice is read once, so a name that was not read may be in the bytes.
    """
    frame = loads(raw)
    shown = [_shown(part, hidden) for part in frame]
    return None if shown == frame and not hidden.mentions(raw) else shown


def _shown(part: Any, hidden: Hidden) -> Any:
    part = hidden.anywhere_in(part)
    if isinstance(part, dict) and isinstance(data := part.get("data"), dict):
        columns = data.get("columns")
        if isinstance(columns, list):
            data["columns"] = [column for column in columns if not _names_hidden(column, hidden)]
    return part


def _names_hidden(column: Any, hidden: Hidden) -> bool:
    name = column.get("name") if isinstance(column, dict) else None
    return isinstance(name, str) and not hidden.columns_of({name: None})


def _binary(at: float, raw: bytes) -> bytes:
    return _line({"at": at, "binary": b64encode(raw).decode()})


def _unreadable(at: float, kind: str, raw: bytes) -> bytes:
    return _line({"at": at, "unreadable": {"kind": kind, "bytes": len(raw)}})


def _line(said: dict[str, Any]) -> bytes:
    line = orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE)
    if line.count(b"\n") > 1:  # a frame spread over several lines: between tokens, never in one
        line = orjson.dumps(loads(line), option=orjson.OPT_APPEND_NEWLINE)
    return line
