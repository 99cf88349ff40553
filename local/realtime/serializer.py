"""How does a message look on the wire, in version 1 and in version 2?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import orjson

PUSH, REPLY, BROADCAST, USER_BROADCAST_PUSH, USER_BROADCAST = range(5)
LONGEST = 255  # a length is one byte
Ref = str | int | float | None  # a text in all clients; the real server echoes a number as well


class Frame(NamedTuple):
    """What goes into one WebSocket message."""

    data: bytes
    binary: bool = False


class Unreadable(Exception):
    """A frame that is not of this protocol; the real server drops it and keeps the connection."""


@dataclass(frozen=True, slots=True)
class UserBroadcast:
    """A broadcast whose payload is relayed as the bytes it came in."""

    event: str | None  # None: a stored message without an event, which version 2 cannot carry
    payload: bytes
    is_json: bool
    meta: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message of a client. `payload` is JSON, bytes (kind 0) or a UserBroadcast (kind 3)."""

    join_ref: Ref
    ref: Ref
    topic: str
    event: str
    payload: Any


class Serializer(Protocol):
    """One version of the wire format. A frame of None says: this version cannot carry it."""

    def read(self, data: str | bytes) -> Inbound: ...

    def text(
        self,
        topic: str,
        event: str,
        payload: bytes,
        *,
        join_ref: Ref = None,
        ref: Ref = None,
    ) -> Frame: ...

    def user_broadcast(self, topic: str, message: UserBroadcast) -> Frame | None: ...

    def binary_broadcast(self, topic: str, event: str, data: bytes) -> Frame | None: ...


def to_json(value: object) -> bytes:
    """Encode as UTF-8 without spaces; whole numbers stay exact at any size, unlike orjson's."""
    return _encode(value).encode()


def from_json(text: str | bytes) -> Any:
    """
    Decode, or raise Unreadable.

    orjson says whether it is JSON: it knows lone surrogates, invalid UTF-8, NaN and bottomless
    nesting. The value comes from `json`, which keeps whole numbers beyond 64 bits exact.
    """
    try:
        orjson.loads(text)
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable from None


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class V1:
    """Objects as text; from the server without join_ref, and never bytes."""

    def read(self, data: str | bytes) -> Inbound:
        if isinstance(data, bytes):
            raise Unreadable
        message = from_json(data)
        if not isinstance(message, dict):
            raise Unreadable
        try:
            topic, event, ref = message["topic"], message["event"], message["ref"]
            return _inbound(message.get("join_ref"), ref, topic, event, message["payload"])
        except KeyError:
            raise Unreadable from None

    def text(
        self,
        topic: str,
        event: str,
        payload: bytes,
        *,
        join_ref: Ref = None,
        ref: Ref = None,
    ) -> Frame:
        head = b'{"event":' + to_json(event) + b',"payload":' + payload
        return Frame(head + b',"ref":' + to_json(ref) + b',"topic":' + to_json(topic) + b"}")

    def user_broadcast(self, topic: str, message: UserBroadcast) -> Frame | None:
        if not message.is_json or not _is_json(message.payload):
            return None
        return self.text(topic, "broadcast", broadcast_payload(message))

    def binary_broadcast(self, topic: str, event: str, data: bytes) -> Frame | None:
        return None


class V2:
    """Arrays as text, and five kinds of binary frame."""

    def read(self, data: str | bytes) -> Inbound:
        if isinstance(data, bytes):
            return _read_binary(data)
        message = from_json(data)
        if not isinstance(message, list) or len(message) < 5:
            raise Unreadable
        return _inbound(*message[:5])

    def text(
        self,
        topic: str,
        event: str,
        payload: bytes,
        *,
        join_ref: Ref = None,
        ref: Ref = None,
    ) -> Frame:
        head = to_json([join_ref, ref, topic, event])
        return Frame(head[:-1] + b"," + payload + b"]")

    def user_broadcast(self, topic: str, message: UserBroadcast) -> Frame | None:
        if message.event is None:
            return None
        meta = b"" if message.meta is None else to_json(message.meta)
        header = [topic.encode(), message.event.encode(), meta]
        return _binary(USER_BROADCAST, header, bytes([message.is_json]), message.payload)

    def binary_broadcast(self, topic: str, event: str, data: bytes) -> Frame | None:
        return _binary(BROADCAST, [topic.encode(), event.encode()], b"", data)

    def binary_push(
        self, join_ref: str | None, topic: str, event: str, data: bytes
    ) -> Frame | None:
        header = [(join_ref or "").encode(), topic.encode(), event.encode()]
        return _binary(PUSH, header, b"", data)

    def binary_reply(
        self, join_ref: str | None, ref: str | None, topic: str, status: str, data: bytes
    ) -> Frame | None:
        header = [(join_ref or "").encode(), (ref or "").encode(), topic.encode(), status.encode()]
        return _binary(REPLY, header, b"", data)


def broadcast_payload(message: UserBroadcast) -> bytes:
    """The JSON form of a broadcast; its inner payload is put in as it is."""
    text = b'{"event":' + to_json(message.event)
    if message.meta is not None:
        text += b',"meta":' + to_json(message.meta)
    return text + b',"payload":' + message.payload + b',"type":"broadcast"}'


def _is_json(payload: bytes) -> bool:
    """Nobody looked at it on the way in: to a version 2 socket it goes as it came."""
    try:
        from_json(payload)
    except Unreadable:
        return False
    return True


def _inbound(join_ref: Any, ref: Any, topic: Any, event: Any, payload: Any) -> Inbound:
    references = isinstance(join_ref, Ref) and isinstance(ref, Ref)
    if not (references and isinstance(topic, str) and isinstance(event, str)):
        raise Unreadable
    return Inbound(join_ref, ref, topic, event, payload)


def _binary(kind: int, header: list[bytes], encoding: bytes, data: bytes) -> Frame | None:
    if any(len(part) > LONGEST for part in header):
        return None
    lengths = bytes([kind, *map(len, header)])
    return Frame(lengths + encoding + b"".join(header) + data, binary=True)


def _read_binary(data: bytes) -> Inbound:
    if data[:1] == bytes([PUSH]):
        (join_ref, ref, topic, event), rest = _fields(data, count=4, skip=0)
        return Inbound(join_ref or None, ref or None, topic, event, rest)
    if data[:1] == bytes([USER_BROADCAST_PUSH]):
        (join_ref, ref, topic, event, _metadata), rest = _fields(data, count=5, skip=1)
        message = UserBroadcast(event, rest, is_json=data[6] != 0)
        return Inbound(join_ref or None, ref or None, topic, "broadcast", message)
    raise Unreadable


def _fields(data: bytes, *, count: int, skip: int) -> tuple[list[str], bytes]:
    """Cut `count` texts out, whose lengths follow the kind; `skip` bytes lie between the two."""
    lengths = data[1 : 1 + count]
    start = 1 + count + skip
    if len(lengths) < count or len(data) < start + sum(lengths):
        raise Unreadable
    texts = []
    for length in lengths:
        texts.append(data[start : start + length])
        start += length
    try:
        return [text.decode() for text in texts], data[start:]
    except UnicodeDecodeError:
        raise Unreadable from None


def for_version(vsn: str) -> Serializer | None:
    """The serializer of a `vsn`: any 1.0.x or 2.0.x; None for what the server does not speak."""
    major, _, rest = vsn.partition(".")
    minor, _, patch = rest.partition(".")
    if minor != "0" or not patch.isdecimal():
        return None
    return _SERIALIZERS.get(major)


SERIALIZER_1 = V1()
SERIALIZER_2 = V2()
_SERIALIZERS: dict[str, Serializer] = {"1": SERIALIZER_1, "2": SERIALIZER_2}
