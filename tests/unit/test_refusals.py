"""Is each reason that Realtime has for a refusal taken for what it is?"""

from __future__ import annotations

import pytest

from local.realtime.refusals import FATAL_MESSAGES, HANDSHAKE_REFUSALS, JOIN_REASONS
from worker.realtime.refusals import is_about_token, is_refused_for_good, weight

# Of each reason: what of it tells it apart, whether waiting cures it, and its weight.
JOINS = {
    "TopicNameRequired: You": ("for good", 2),
    "InvalidJWTToken: Token has expired": ("passes", 0),
    "InvalidJWTToken: Fields": ("for good", 0),
    "InvalidJWTToken: Token expiration time": ("for good", 0),
    "MalformedJWT": ("for good", 0),
    "JwtSignatureError": ("for good", 0),
    "JwtSignerError": ("for good", 0),
    "Unauthorized": ("for good", 2),
    "PrivateOnly": ("for good", 2),
    "ChannelRateLimitReached": ("passes", 0),
    "ConnectionRateLimitReached": ("passes", 1),
    "ClientJoinRateLimitReached": ("passes", 0),
    "IncreaseConnectionPool": ("passes", 1),
    "DatabaseLackOfConnections": ("passes", 1),
    "DatabaseConnectionRateLimitReached": ("passes", 1),
    "Realtime was unable to connect": ("passes", 1),
    "UnableToConnectToProject": ("passes", 1),
    "QueryCanceled": ("passes", 1),
    "MissingPartition": ("passes", 1),
    "TimeoutOnRpcCall": ("passes", 1),
    "ErrorOnRpcCall": ("passes", 1),
    "InitializingProjectConnection: Realtime is initializing": ("passes", 1),
    "InitializingProjectConnection: Connecting": ("passes", 1),
    "TenantNotFound": ("for good", 2),
    "RealtimeDisabledForTenant": ("for good", 2),
    "RealtimeRestarting": ("passes", 1),
    "UnableToReplayMessages: Realtime was unable": ("passes", 0),
    "UnableToReplayMessages: Replay params": ("passes", 0),
    "UnableToReplayMessages: Replay is not allowed": ("passes", 0),
    "MusterJoinError": ("passes", 1),
    "Unknown Error on Channel": ("passes", 1),
    "join crashed": ("passes", 1),
    "unmatched topic": ("for good", 2),
}


def beginning(reason: str) -> str:
    """The key of JOINS that stands for a reason."""
    found = [start for start in JOINS if reason.startswith(start)]
    assert len(found) == 1, reason
    return found[0]


def test_every_reason_the_local_server_has_is_judged_and_no_other() -> None:
    assert {beginning(reason) for reason in JOIN_REASONS} == set(JOINS)


@pytest.mark.parametrize("reason", JOIN_REASONS)
def test_what_no_waiting_cures_is_asked_again_seldom_and_the_rest_soon(reason: str) -> None:
    cure, heavy = JOINS[beginning(reason)]

    assert is_refused_for_good(reason) == (cure == "for good")
    assert weight(reason) == heavy


def test_every_refusal_of_a_token_is_known_wherever_it_is_told() -> None:
    """A new token helps against these; they come with a status, a reply or a `system` message."""
    told = [*JOIN_REASONS, *FATAL_MESSAGES, *HANDSHAKE_REFUSALS]
    about = [text for text in told if "JWT" in text or "Token has" in text or "signer" in text]
    about += [text for text in told if text.startswith("InvalidJWTToken: Token expiration")]

    assert {text for text in told if is_about_token(text)} == set(about)


def test_only_a_handshake_that_is_refused_for_the_token_is_401() -> None:
    refused = {text: refusal.status for text, refusal in HANDSHAKE_REFUSALS.items()}

    assert {text for text, status in refused.items() if status == 401} == {
        "API key is missing",
        *(text for text in refused if is_about_token(text)),
    }
