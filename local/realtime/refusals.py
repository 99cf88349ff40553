"""With which words does the real server refuse somebody?"""

from __future__ import annotations

from dataclasses import dataclass

NO_DATABASE = "UnableToConnectToProject: Realtime was unable to connect to the project database"

NO_SIGNER = (
    'Failed to generate JWT signer for key ID (kid) "key-1", '
    "check your JWT secret or JWKS configuration"
)


@dataclass(frozen=True, slots=True)
class HandshakeRefusal:
    """An HTTP answer instead of a socket."""

    status: int
    message: str

    def __str__(self) -> str:
        return self.message


class JoinRefused(Exception):
    """
    A join that is answered with an error; the text is the `reason` in the reply.

    Not every refusal holds up the socket: one that Phoenix itself gives comes `at_once`. Some end
    the connection after the answer, with the code `hang_up`.
    """

    def __init__(self, reason: str, *, at_once: bool = False, hang_up: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at_once = at_once
        self.hang_up = hang_up


def join_refusal(reason: str, topic: str) -> JoinRefused:
    """The refusal with a reason of `JOIN_REASONS`, and all that comes with it."""
    return JoinRefused(
        reason.replace("<topic>", topic),
        at_once=reason == "unmatched topic",
        hang_up=1001
        if reason.startswith(("ClientJoinRateLimitReached", "TenantNotFound"))
        else None,
    )


HANDSHAKE_REFUSALS = {
    message: HandshakeRefusal(status, message)
    for status, message in (
        (401, "API key is missing"),
        (401, "Token has expired"),
        (401, "Fields `role` and `exp` are required in JWT"),
        (401, "The token provided is not a valid JWT"),
        (401, "Failed to validate JWT signature"),
        (401, NO_SIGNER),
        (403, "Realtime was disabled for this tenant"),
        (404, "Tenant not found"),
        (429, "Too many connected users"),
        (429, "Too many joins per second"),
        (500, "Error connecting to Realtime"),
    )
}

# protocol page 1.4; `<topic>` becomes the name of the channel
JOIN_REASONS = (
    "TopicNameRequired: You must provide a topic name",
    "InvalidJWTToken: Token has expired 7 seconds ago",
    "InvalidJWTToken: Fields `role` and `exp` are required in JWT",
    "InvalidJWTToken: Token expiration time is invalid",
    "MalformedJWT: The token provided is not a valid JWT",
    "JwtSignatureError: Failed to validate JWT signature",
    f"JwtSignerError: {NO_SIGNER}",
    "Unauthorized: You do not have permissions to read from this Channel topic: <topic>",
    "PrivateOnly: This project only allows private channels",
    "ChannelRateLimitReached: Too many channels",
    "ConnectionRateLimitReached: Too many connected users",
    "ClientJoinRateLimitReached: Too many joins per second",
    "IncreaseConnectionPool: Please increase your connection pool size",
    "DatabaseLackOfConnections: Database can't accept more connections, Realtime won't connect",
    "DatabaseConnectionRateLimitReached: Too many database connections attempts per second",
    "Realtime was unable to connect to the project database",
    NO_DATABASE,
    "QueryCanceled: Query was cancelled, please try again",
    "MissingPartition: Realtime was unable to find the expected messages partition",
    "TimeoutOnRpcCall: Node request timeout",
    "ErrorOnRpcCall: RPC call error: nodedown",
    "InitializingProjectConnection: Realtime is initializing the project connection",
    "InitializingProjectConnection: Connecting to the project database",
    "TenantNotFound: Tenant with the given ID does not exist",
    "RealtimeDisabledForTenant: Realtime disabled for this tenant",
    "RealtimeRestarting: Realtime is restarting, please standby",
    "UnableToReplayMessages: Realtime was unable to replay messages",
    "UnableToReplayMessages: Replay params are not valid",
    "UnableToReplayMessages: Replay is not allowed for public channels",
    "MusterJoinError: timeout",
    "Unknown Error on Channel",
    "join crashed",
    "unmatched topic",
)

# protocol page 1.6: a `system` message that is followed by `phx_close`
FATAL_MESSAGES = (
    "Too many messages per second",
    "Too many presence messages per second",
    "Client presence rate limit exceeded",
    "Track message size exceeded",
    "Token has expired 7 seconds ago",
    "Fields `role` and `exp` are required in JWT",
    "The token provided is not a valid JWT",
    "You do not have permissions to read from this Channel topic: <topic>",
    "You no longer have permission to read from this Channel topic: <topic>",
    "Realtime was unable to connect to the project database",
    "Query was cancelled, please try again",
    "Node request timeout",
    "RPC call error: nodedown",
    NO_SIGNER,
    "Replication connection was not established in time",
    "{:error, :enoent}",  # whatever else went wrong is told as Elixir shows it
)

# a `system` error of postgres_changes after which the server tries again by itself
PASSING_FAILURES = ('{:error, "Too many database timeouts"}',)
