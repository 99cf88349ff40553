"""Where do two replays differ?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from ..errors import CommandFailed

MOST = 50  # differences said; the rest is counted

_ABSENT = object()


def differences(expected: Sequence[str], got: Sequence[str]) -> list[str]:
    """
    Return, in words, what is missing, unexpected or different, event by event.

    Raises CommandFailed when an expected line is not as `replay` writes it.
    """
    before, after = _by_id(expected), _by_id(got)
    found = [f"missing: {_name(said)}" for key, said in before.items() if key not in after]
    found += [f"unexpected: {_name(said)}" for key, said in after.items() if key not in before]
    for key, said in before.items():
        if key in after:
            found += [f"{_name(said)}: {line}" for line in _between(said, after[key], "")]
    if not found and len(expected) != len(got):
        found.append(f"expected {len(expected)} events, got {len(got)}: some stand there twice")
    if not found and list(before) != list(after):
        found.append("the same events, in another order")
    if len(found) > MOST:
        found[MOST:] = [f"… and {len(found) - MOST} more"]
    return found


def _by_id(lines: Sequence[str]) -> dict[str, Any]:
    said = {}
    for number, line in enumerate(lines, start=1):
        try:
            parsed = orjson.loads(line)
            said[str(parsed["event"]["id"])] = parsed
        except (ValueError, KeyError, TypeError):
            raise CommandFailed(f"expected line {number} is not one that replay writes") from None
    return said


def _name(said: Any) -> str:
    event = said["event"]
    if event.get("what") == "change":
        return f"{event.get('kind')} of {event.get('schema')}.{event.get('name')} {event['id']}"
    return f"{event.get('what')} {event.get('topic') or event.get('reason')} {event['id']}"


def _between(expected: Any, got: Any, path: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in sorted(expected.keys() | got.keys()):
            one, other = expected.get(key, _ABSENT), got.get(key, _ABSENT)
            yield from _between(one, other, f"{path}.{key}".lstrip("."))
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for place, (one, other) in enumerate(zip(expected, got, strict=True)):
            yield from _between(one, other, f"{path}[{place}]")
    elif type(expected) is not type(got) or expected != got:  # True is 1 in Python, not in JSON
        yield f"{path}: expected {_short(expected)}, got {_short(got)}"


def _short(value: Any) -> str:
    if value is _ABSENT:
        return "nothing"
    text = orjson.dumps(value).decode()
    return text if len(text) <= 300 else f"{text[:300]}…"
