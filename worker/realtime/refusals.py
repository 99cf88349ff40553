"""What does the server mean when it refuses something?"""

from __future__ import annotations

from typing import Any

LONGEST_REASON = 1000  # characters kept: each channel remembers its own

FULL = "ChannelRateLimitReached"  # this socket has as many channels as the server lets it have
TOO_FAST = "ClientJoinRateLimitReached"  # too many joins a second, of everybody together
PRIVATE_ONLY = "PrivateOnly"
UNKNOWN_THERE = "unmatched topic"  # the server has no such channel of ours
NO_REPLAY = "UnableToReplayMessages"
REPLAYS_NEVER = "UnableToReplayMessages: Replay"  # it does not like the question

# What a join is refused with and no waiting cures. Everything else is asked again with backoff.
_REFUSED_FOR_GOOD = (
    "TopicNameRequired",
    "InvalidJWTToken: Fields",
    "InvalidJWTToken: Token expiration time",
    "MalformedJWT",
    "JwtSignatureError",
    "JwtSignerError",
    "Unauthorized",
    PRIVATE_ONLY,
    "RealtimeDisabledForTenant",
    "TenantNotFound",
    UNKNOWN_THERE,
)

_OF_OTHERS = (FULL, TOO_FAST, NO_REPLAY)

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

    One is an accident, two are not. What concerns the token, the socket, everybody or only the
    replay that was asked for tells nothing of it.
    """
    if is_about_token(reason) or reason.startswith(_OF_OTHERS):
        return 0
    return 2 if is_refused_for_good(reason) else 1


def is_refused_for_good(reason: str) -> bool:
    """Say whether a join refused for this reason is asked again seldom rather than soon."""
    return reason.startswith(_REFUSED_FOR_GOOD)


def is_about_token(reason: str) -> bool:
    """Say whether a channel is refused or closed for the token it has."""
    return reason.startswith(_ABOUT_TOKEN)


def is_not_retried(message: str) -> bool:
    """Say whether the server leaves it at this error about `postgres_changes`."""
    return message.startswith(_NOT_RETRIED)


def refusal(response: Any) -> str:
    """Return the reason in the reply to a join; some replies are a bare string."""
    if isinstance(response, dict):
        response = response.get("reason")
    return response[:LONGEST_REASON] if isinstance(response, str) else "no reason given"
