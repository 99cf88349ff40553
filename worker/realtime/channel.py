"""What is a channel waiting for, and what do the server's words about it mean?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..subscription import Binding, Subscription
from .events import PREFIX
from .heartbeat import NEVER


class State(Enum):
    """
    waiting ─▶ joining ─▶ joined ─▶ ready; every state but `ready` has a deadline.

    `joined` waits for changes to flow, `degraded` for the server to mend what it says it will,
    `refused` for somebody else to mend what it says it will not. All three end in `waiting`.
    """

    WAITING = "waiting"
    JOINING = "joining"
    JOINED = "joined"
    READY = "ready"
    DEGRADED = "degraded"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. The defaults are those of a real server: a failing join blocks its socket for 5."""

    heartbeat: float = 25.0  # the server closes a socket that is silent for 60
    silence: float = 20.0  # after a heartbeat; a cold tenant blocks the socket for about 15
    join: float = 20.0  # for an answer, from the last answer of any join: they come one by one
    subscribed: float = 30.0  # from the join's answer to `Subscribed to PostgreSQL`
    degraded: float = 60.0  # for the server to mend it; it tries again every 5 to 10
    refused: float = 300.0  # before asking again what was refused for good
    unwatched: float = 60.0  # before asking again for tables not there: a migration brings them
    closing: float = 10.0  # from a fatal message to the `phx_close` it announces
    pace: float = 0.05  # between two joins: they are limited by the second, for the whole tenant
    renewed: float = 30.0  # from a new token to the subscription it repeats, after 1 to 3
    stable: float = 60.0  # ready for so long, a channel's backoff starts over


@dataclass(frozen=True, slots=True)
class Moved:
    """A channel went from one state to another; READY to READY is an unexpected subscription."""

    topic: str
    before: State
    now: State
    reason: str


@dataclass(slots=True)
class Pace:
    """When the next join may be sent: the limit is the tenant's, so all lines share one pace."""

    at: float = -NEVER

    def joined(self, now: float, pause: float) -> None:
        """Take note of a join; the next comes `pause` seconds later."""
        self.at = now + pause


@dataclass(slots=True, kw_only=True)
class Channel:
    """One channel as the client knows it."""

    subscription: Subscription
    waits: Iterator[float]
    due: float  # when its state has lasted too long, or a waiting one may join
    state: State = State.WAITING
    join_ref: str | None = None
    reason: str = "start"
    ready_at: float = NEVER
    token: str | None = None  # the one the server has of us for this channel
    repeats_until: float = -NEVER  # until then a repeated subscription is what we asked for
    refusals: int = 0  # of its join, since it was ready; one for good weighs two

    @property
    def wire_topic(self) -> str:
        return PREFIX + self.subscription.topic

    @property
    def is_doubtful(self) -> bool:
        """Say whether it is to be expected that its join is refused, and its socket held up."""
        return self.refusals > 1

    def is_current(self, join_ref: str | None) -> bool:
        """After a rejoin the server still says goodbye to the old channel, under the old ref."""
        return join_ref is None or join_ref == self.join_ref

    def join(self, token: str | None) -> dict[str, Any]:
        """Return the payload of the join. A `sb_…` key is no token: the socket's own is used."""
        wanted = self.subscription
        payload: dict[str, Any] = {
            "config": {
                "broadcast": {"ack": False, "self": wanted.canary},
                "presence": {"key": "", "enabled": wanted.presence},
                "postgres_changes": [_entry(binding) for binding in wanted.bindings],
                "private": wanted.private,
            }
        }
        if token is not None:
            payload["access_token"] = token
        return payload


def _entry(binding: Binding) -> dict[str, str]:
    entry = {"event": binding.event, "schema": binding.schema, "table": binding.table}
    if binding.filter is not None:
        entry["filter"] = binding.filter
    return entry


FULL = "ChannelRateLimitReached"  # this socket has as many channels as the server lets it have

# What a join is refused with and no waiting cures. Everything else is asked again with backoff.
_REFUSED_FOR_GOOD = (
    "TopicNameRequired",
    "InvalidJWTToken: Fields",
    "InvalidJWTToken: Token expiration time",
    "MalformedJWT",
    "JwtSignatureError",
    "JwtSignerError",
    "Unauthorized",
    "PrivateOnly",
    "RealtimeDisabledForTenant",
    "TenantNotFound",
    "UnableToReplayMessages: Replay",
    "unmatched topic",
)

# The two families of `system` errors about changes after which the server does not try again.
_NOT_RETRIED = (
    "Error parsing `filter` params",
    "No subscription params provided",
    "Column selection is not supported",
    "Unable to subscribe to changes with given parameters",
)


def weight(reason: str) -> int:
    """
    Say how much a refusal tells of the channel itself.

    One is an accident, two are not. The token and a full socket tell nothing of it.
    """
    if is_about_token(reason) or reason.startswith(FULL):
        return 0
    return 2 if is_refused_for_good(reason) else 1


def is_refused_for_good(reason: str) -> bool:
    """Say whether a join refused for this reason is asked again seldom rather than soon."""
    return reason.startswith(_REFUSED_FOR_GOOD)


# What is said of a token that is not taken: refusing a join, or before closing the channel.
_ABOUT_TOKEN = (
    "InvalidJWTToken",
    "MalformedJWT",
    "JwtSign",
    "Token has expired",
    "Token expiration time",
    "Fields `role` and `exp`",
    "The token provided is not a valid JWT",
    "Failed to generate JWT signer",
    "Failed to validate JWT signature",
)


def is_about_token(reason: str) -> bool:
    """Say whether a channel is refused or closed for the token it has."""
    return reason.startswith(_ABOUT_TOKEN)


def refuses_token(move: Moved) -> bool:
    """Say whether this is the moment in which the channel's token was refused."""
    is_answer = move.before is State.JOINING and move.now in (State.WAITING, State.REFUSED)
    return (is_answer or move.now is State.DEGRADED) and is_about_token(move.reason)


def is_not_retried(message: str) -> bool:
    """Say whether the server leaves it at this error about `postgres_changes`."""
    return message.startswith(_NOT_RETRIED)


def refusal(response: Any) -> str:
    """Return the reason in the reply to a join; some replies are a bare string."""
    if isinstance(response, dict):
        response = response.get("reason")
    return response if isinstance(response, str) else "no reason given"
