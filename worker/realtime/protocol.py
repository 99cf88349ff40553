"""What do bytes on the socket mean?"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

import orjson

from ..errors import FrameError

# A binary frame begins with its kind; no JSON text can begin with one of these bytes.
PUSH: Final = 0
REPLY: Final = 1
PLAIN_BROADCAST: Final = 2
USER_BROADCAST_PUSH: Final = 3
USER_BROADCAST: Final = 4

# How many length bytes follow the kind (kind 0 as servers send it: it has no ref).
_LENGTHS: Final = {
    PUSH: 3,
    REPLY: 4,
    PLAIN_BROADCAST: 2,
    USER_BROADCAST_PUSH: 6,
    USER_BROADCAST: 4,
}
# Levels of arrays and objects in each other. What is made of a frame (an audit row, a dead letter)
# is written as JSON again, which orjson does down to 254 levels, and walked by recursion.
DEEPEST: Final = 128

_JSON: Final = 1  # encoding byte of kinds 3 and 4: 0 is binary, anything else JSON

Ref = str | None


class TooDeep(ValueError):
    """JSON of more than DEEPEST levels."""


class Frame:
    """
    One Phoenix message, in the same shape whichever form it came in.

    A kind-3 or kind-4 frame has the event `broadcast` and the payload its text form would have:
    `{"type": "broadcast", "event": …, "payload": …, "meta": …}`, `payload` being bytes when the
    sender sent bytes. A kind-1 reply has the payload `{"status": …, "response": bytes}`.
    """

    # A plain class with slots: a frame is made for every change, and this is the cheapest.
    __slots__ = ("event", "join_ref", "payload", "ref", "topic")

    def __init__(self, join_ref: Ref, ref: Ref, topic: str, event: str, payload: Any) -> None:
        self.join_ref = join_ref
        self.ref = ref
        self.topic = topic
        self.event = event
        self.payload = payload


def encode(join_ref: Ref, ref: Ref, topic: str, event: str, payload: Any) -> str:
    """Return the text frame of a push."""
    return orjson.dumps([join_ref, ref, topic, event, payload]).decode()


def encode_user_broadcast(
    topic: str, event: str, meta: dict[str, Any] | None, payload: Any
) -> bytes:
    """
    Return the kind-4 frame of a broadcast; bytes stay bytes, anything else is sent as JSON.

    Raises ValueError when topic, event or meta is longer than the 255 bytes a length can say.
    """
    parts = (topic.encode(), event.encode(), orjson.dumps(meta) if meta else b"")
    binary = isinstance(payload, bytes)
    head = bytes((USER_BROADCAST, *map(len, parts), 0 if binary else _JSON))
    return head + b"".join(parts) + (payload if binary else orjson.dumps(payload))


def decode(raw: bytes) -> Frame:
    """
    Read one frame, text or binary: the first byte tells which.

    Raises FrameError with one of the kinds `empty`, `not utf-8`, `not json`, `too deep`,
    `not a list`, `too short`, `wrong types`, `truncated`.
    """
    if not raw:
        raise FrameError("empty")
    if raw[0] <= USER_BROADCAST:
        return _decode_binary(raw)
    try:
        parts = loads(raw)
    except UnicodeDecodeError:
        raise FrameError("not utf-8") from None
    except ValueError as error:
        raise _not_read(error) from None
    if type(parts) is not list:
        raise FrameError("not a list")
    if len(parts) < 5:
        raise FrameError("too short")
    join_ref, ref, topic, event, payload = parts if len(parts) == 5 else parts[:5]
    if (
        type(topic) is not str
        or type(event) is not str
        or type(payload) is not dict
        or (join_ref is not None and type(join_ref) is not str)
        or (ref is not None and type(ref) is not str)
    ):
        raise FrameError("wrong types")
    return Frame(join_ref, ref, topic, event, payload)


def loads(raw: bytes) -> Any:
    """
    Read JSON. Integers of 64 bits are exact; a number beyond a double becomes its text.

    Raises ValueError (UnicodeDecodeError for bad UTF-8, TooDeep).
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        value = _loads_big_numbers(raw.decode())
    # All that a frame as they come pays for it; `count` would take twice as long.
    if len(raw) - len(raw.replace(b"[", b"").replace(b"{", b"")) > DEEPEST:
        _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in (dict, list)
        ]
        if not level:
            return
    raise TooDeep


def _not_read(error: ValueError) -> FrameError:
    return FrameError("too deep" if isinstance(error, TooDeep) else "not json")


def _loads_big_numbers(text: str) -> Any:
    """orjson refuses what no double holds, and a Postgres numeric may have 131,072 digits."""
    try:
        value = json.loads(text, parse_float=_float, parse_int=_int, parse_constant=_refuse)
    except RecursionError:
        raise TooDeep from None
    try:
        orjson.dumps(value)  # what could not be written again is not read: half a surrogate pair
    except TypeError as error:
        raise TooDeep if "Recursion" in str(error) else ValueError("not json") from None
    return value


def _float(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


def _int(text: str) -> float | str:
    exact = int(text) if len(text) <= 20 else None
    return exact if exact is not None and -(2**63) <= exact < 2**64 else _float(text)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _decode_binary(raw: bytes) -> Frame:
    kind = raw[0]
    fields, start = _fields(raw, _LENGTHS[kind], encoded=kind >= USER_BROADCAST_PUSH)
    data = raw[start:]
    if kind == PUSH:
        join_ref, topic, event = fields
        return Frame(join_ref, None, topic, event, data)
    if kind == REPLY:
        join_ref, ref, topic, status = fields
        return Frame(join_ref, ref, topic, "phx_reply", {"status": status, "response": data})
    if kind == PLAIN_BROADCAST:
        topic, event = fields
        return Frame(None, None, topic, event, data)
    topic, event, meta = fields[-3:]
    payload = _broadcast(event, meta, data, is_json=raw[_LENGTHS[kind]] != 0)
    if kind == USER_BROADCAST_PUSH:
        return Frame(fields[0], fields[1], topic, "broadcast", payload)
    return Frame(None, None, topic, "broadcast", payload)


def _fields(raw: bytes, count: int, *, encoded: bool) -> tuple[list[str], int]:
    """Return the text fields and where the data begins. `encoded`: the last byte is no length."""
    sizes = raw[1 : 1 + count - encoded]
    start = 1 + count
    if len(raw) < start + sum(sizes):
        raise FrameError("truncated")
    fields = []
    try:
        for size in sizes:
            fields.append(raw[start : start + size].decode())
            start += size
    except UnicodeDecodeError:
        raise FrameError("not utf-8") from None
    return fields, start


def _broadcast(event: str, meta: str, data: bytes, *, is_json: bool) -> dict[str, Any]:
    payload: dict[str, Any] = {"type": "broadcast", "event": event, "payload": data}
    try:
        if is_json:
            payload["payload"] = loads(data)
        if meta:
            payload["meta"] = orjson.loads(meta)
    except ValueError as error:
        raise _not_read(error) from None
    return payload
