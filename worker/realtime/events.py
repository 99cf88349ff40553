"""Which event does a frame carry?"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any
from uuid import UUID, SafeUUID

from ..errors import FrameError
from ..event import Broadcast, Change, Kind, Presence, Row, late_change
from ..hidden import Hidden
from .protocol import Frame

PREFIX = "realtime:"
CARRIERS = frozenset({"postgres_changes", "broadcast", "presence_diff", "presence_state"})

_WINDOW = 16_384  # frames and broadcast ids remembered: a second or two at full speed
_LONGEST_TABLE = 2 * 63 + 1  # Postgres has no longer names
_LONGEST_ID = 64  # characters remembered as they are; a server may send megabytes
# A UUID refuses to be written to; its slots do not.
_set_int, _set_safety = (vars(UUID)[slot].__set__ for slot in ("int", "is_safe"))
_SAFETY = SafeUUID.unknown
_KINDS: dict[str, Kind] = {"INSERT": "INSERT", "UPDATE": "UPDATE", "DELETE": "DELETE"}


@dataclass(frozen=True, slots=True)
class Withheld:
    """
    A change that happened and that Realtime does not show: no primary key (400), no permission
    (401), or so large that not even its key is left (413).
    """

    table: str  # with its schema
    error: str


class Decoder:
    """
    Turns the frames of one link into events, across its reconnections.

    The id of a change is a hash of its frame. Realtime sends none, and an UPDATE that changes
    nothing, twice in one transaction, gives two identical frames: they are told apart by
    counting. A broadcast without an id, and presence, carry no time either: tomorrow's may be
    today's to the byte, so `seed` and a running number go into theirs. With the same seed the
    same frames from the beginning have the same ids.

    The columns of a change take a tenth of all the rest, and next to nobody asks for them: they
    are made when they are.
    """

    def __init__(self, hidden_columns: Iterable[str], seed: bytes = b"") -> None:
        self._hide = Hidden(hidden_columns)
        self._seed = seed
        self._timeless = 0
        # Frames by digest, in two halves: the newer one becomes the older one once it is full.
        self._seen: dict[bytes, int] = {}
        self._seen_before: dict[bytes, int] = {}
        self._broadcasts: OrderedDict[tuple[str, str], None] = OrderedDict()

    def read(self, frame: Frame, raw: bytes) -> Change | Broadcast | Presence | Withheld | None:
        """
        Return the event of a frame whose `event` is one of CARRIERS.

        None for a broadcast that was here before under the same `meta.id`. Raises FrameError
        with one of the kinds `no data`, `unknown change`, `wrong types`, `no event name`.
        """
        if frame.event == "postgres_changes":
            return self._change(frame.payload, raw)
        topic = frame.topic.removeprefix(PREFIX)
        if frame.event == "broadcast":
            return self._broadcast(topic, frame.payload, raw)
        return self._presence(topic, frame, raw)

    def _id(self, raw: bytes) -> UUID:
        digest = blake2b(raw, digest_size=16).digest()
        seen = self._seen
        earlier = seen[digest] if digest in seen else self._seen_before.get(digest, 0)
        seen[digest] = earlier + 1
        if len(seen) > _WINDOW:
            self._seen, self._seen_before = {}, seen
        if earlier:
            digest = blake2b(digest + earlier.to_bytes(4, "big"), digest_size=16).digest()
        return _quick_uuid(int.from_bytes(digest, "big"))

    def _timeless_id(self, raw: bytes) -> UUID:
        self._timeless += 1
        salt = self._seed + self._timeless.to_bytes(8, "big")
        return UUID(bytes=blake2b(raw, digest_size=16, key=salt).digest())

    def _change(self, payload: dict[str, Any], raw: bytes) -> Change | Withheld:
        try:
            data = payload["data"]
            schema, name, kind = data["schema"], data["table"], data["type"]
            record, old = data.get("record") or {}, data.get("old_record") or {}
            columns = data.get("columns")
            errors, committed_at = data.get("errors"), data.get("commit_timestamp")
        except (KeyError, TypeError, AttributeError):
            raise FrameError("no data") from None
        if not (
            type(schema) is type(name) is type(kind) is str
            and type(record) is type(old) is dict
            and (committed_at is None or type(committed_at) is str)
            and (errors is None or type(errors) is list)
        ):
            raise FrameError("wrong types")
        if kind not in _KINDS:
            raise FrameError("unknown change")
        if not (old if kind == "DELETE" else record):
            table = f"{schema}.{name}"[:_LONGEST_TABLE]
            return Withheld(table, str(errors[0])[:80] if errors else "empty row")
        hide = self._hide
        return late_change(
            self._id(raw) if committed_at else self._timeless_id(raw),
            schema,
            name,
            _KINDS[kind],
            hide.columns_of(record),
            hide.columns_of(old),
            committed_at,
            tuple(map(str, errors)) if errors else (),
            partial(_types, columns, hide),
        )

    def _broadcast(self, topic: str, payload: Any, raw: bytes) -> Broadcast | None:
        if type(payload) is not dict:  # kind 2 and 0: bytes in place of the object
            raise FrameError("wrong types")
        event, meta = payload.get("event"), payload.get("meta")
        if type(event) is not str:
            raise FrameError("no event name")
        meta = meta if type(meta) is dict else {}
        given = meta.get("id")
        if type(given) is str:
            if self._known(topic, given):
                return None
            broadcast_id = _uuid(given)
        else:
            broadcast_id = self._timeless_id(raw)
        return Broadcast(
            id=broadcast_id,
            topic=topic,
            event=event,
            payload=self._hide.anywhere_in(payload.get("payload")),
            replayed=meta.get("replayed") is True,
        )

    def _known(self, topic: str, given: str) -> bool:
        if len(given) > _LONGEST_ID:
            given = blake2b(given.encode(), digest_size=16).hexdigest()
        key = (topic, given)
        if key in self._broadcasts:
            return True
        self._broadcasts[key] = None
        if len(self._broadcasts) > _WINDOW:
            self._broadcasts.popitem(last=False)
        return False

    def _presence(self, topic: str, frame: Frame, raw: bytes) -> Presence:
        payload = frame.payload
        full = frame.event == "presence_state"
        try:
            joins = payload if full else payload.get("joins", {})
            leaves = {} if full else payload.get("leaves", {})
            joins, leaves = self._metas(joins), self._metas(leaves)
        except (KeyError, TypeError, AttributeError):
            raise FrameError("wrong types") from None
        return Presence(
            id=self._timeless_id(raw), topic=topic, joins=joins, leaves=leaves, full=full
        )

    def _metas(self, people: Mapping[str, Any]) -> dict[str, tuple[Row, ...]]:
        metas = {key: tuple(value["metas"]) for key, value in people.items()}
        if not all(type(meta) is dict for several in metas.values() for meta in several):
            raise TypeError("a meta is an object")
        return {
            key: tuple(self._hide.anywhere_in(meta) for meta in several)
            for key, several in metas.items()
        }


def _types(columns: Any, hide: Hidden) -> dict[str, str]:
    """Return what can be read of the types; a row is not given up for them."""
    try:
        types = {column["name"]: column["type"] for column in columns or ()}
    except (KeyError, TypeError):
        return {}
    return hide.columns_of(types)


def _quick_uuid(number: int) -> UUID:
    """Return `UUID(int=number)` of 128 bits; its constructor takes three times as long."""
    made = UUID.__new__(UUID)
    _set_int(made, number)
    _set_safety(made, _SAFETY)
    return made


def _uuid(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError:
        return UUID(bytes=blake2b(given.encode(), digest_size=16).digest())
