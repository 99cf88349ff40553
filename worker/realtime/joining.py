"""When may a channel join, and what does it ask for?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..subscription import Binding, Subscription
from .heartbeat import NEVER

MOST_JOINING = 4  # joins of one socket that are not yet answered, once one was accepted
MOST_REPLAYED = 25  # what the server gives at the most: the newest


@dataclass(slots=True)
class Tenant:
    """
    What the lines of one project share: when the next may join, and what its server can.

    `tells_replication` is None until the server told of it or was waited for in vain.
    """

    join_at: float = -NEVER
    slowness: float = 1.0  # times the usual pace
    private_only: bool = False
    replays: bool = True
    tells_replication: bool | None = None

    def joined(self, now: float, pace: float, slowest: float) -> None:
        """Take note of a join; the next comes `pace` seconds later, or when times are slow more."""
        self.join_at = now + min(pace * self.slowness, max(pace, slowest))


def payload(
    wanted: Subscription,
    *,
    private: bool,
    replication: bool,
    since: int | None,
    token: str | None,
) -> dict[str, Any]:
    """
    Return the payload of a join. A `sb_…` key is no token: the socket's own is used.

    `since`, in unix milliseconds, asks for the broadcasts stored from then on to be repeated.
    """
    broadcast: dict[str, Any] = {"ack": False, "self": wanted.canary}
    if replication:
        broadcast["replication_ready"] = True
    if since is not None:
        broadcast["replay"] = {"since": since, "limit": MOST_REPLAYED}
    asked: dict[str, Any] = {
        "config": {
            "broadcast": broadcast,
            "presence": {"key": "", "enabled": wanted.presence},
            "postgres_changes": [_entry(binding) for binding in wanted.bindings],
            "private": private,
        }
    }
    return asked if token is None else asked | {"access_token": token}


def _entry(binding: Binding) -> dict[str, str]:
    entry = {"event": binding.event, "schema": binding.schema, "table": binding.table}
    if binding.filter is not None:
        entry["filter"] = binding.filter
    return entry
