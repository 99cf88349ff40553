"""What does a client ask for when it joins a channel?"""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """The payload of a `phx_join`, read as leniently as the real server reads it."""

    private: bool = False
    broadcast_self: bool = False
    broadcast_ack: bool = False
    replication_ready: bool = False
    replay: Any = None  # as sent; looked at only where replaying is allowed
    wants_replay: bool = False
    presence_key: str
    presence_enabled: bool = False
    postgres_changes: Sequence[Any] = ()
    legacy: bool = False  # the topic says which changes: schema[:table[:filter]]
    token: str | None = None


def read_join(payload: object, name: str = "") -> Join:
    """
    What cannot be understood counts as not said: the join goes on without it.

    Where there is no `config` at all, the client is an old one and `name`, the topic without
    `realtime:`, says which changes it wants.
    """
    body = _mapping(payload)
    legacy = "config" not in body
    config = _mapping(body.get("config"))
    broadcast, presence = _mapping(config.get("broadcast")), _mapping(config.get("presence"))
    return Join(
        private=is_true(config.get("private")),
        broadcast_self=is_true(broadcast.get("self")),
        broadcast_ack=is_true(broadcast.get("ack")),
        replication_ready=is_true(broadcast.get("replication_ready")),
        replay=broadcast.get("replay"),
        wants_replay="replay" in broadcast,
        presence_key=_presence_key(presence.get("key")),
        presence_enabled=is_true(presence.get("enabled")),
        postgres_changes=[_named(name)] if legacy else _bindings(config.get("postgres_changes")),
        legacy=legacy,
        token=_token(body),
    )


def is_true(value: object) -> bool:
    """A boolean, or the word in any case; everything else is no."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def binding_id(params: object) -> int:
    """
    A number of 27 bits that stands for these parameters: equal ones have equal numbers.

    The real server takes Erlang's phash2 of them; clients compare the number and never compute it.
    """
    canonical = json.dumps(params, sort_keys=True, separators=(",", ":"))
    return zlib.crc32(canonical.encode()) & 0x7FF_FFFF


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _bindings(value: object) -> Sequence[Any]:
    return [one for one in value if one is not None] if isinstance(value, list) else ()


def _named(name: str) -> dict[str, str]:
    return dict(zip(("schema", "table", "filter"), name.split(":", 2), strict=False))


def _presence_key(value: object) -> str:
    """Texts, numbers and booleans name somebody; everything else is given a name."""
    if isinstance(value, str) and value:
        return value
    return json.dumps(value) if isinstance(value, int | float) else str(uuid.uuid4())


def _token(body: Mapping[str, Any]) -> str | None:
    """`user_token` is an older name. A key that is not a JWT stands for the socket's own."""
    given = body.get("access_token") or body.get("user_token")
    if isinstance(given, str) and given.startswith("sb_"):
        return None
    for name in ("user_token", "access_token"):
        value = body.get(name)
        if isinstance(value, str):
            return value
    return None
