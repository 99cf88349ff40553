"""What can go wrong, and what is then to be done?

* WorkerError
    * ConfigError        fix the environment or the handlers; exit status 78
    * CommandFailed      the command could not do what was asked; exit status 1
    * FrameError         count the frame, log its kind once, keep the connection
    * ConnectionLost     reconnect after a backoff
        * HeartbeatMissed
        * HandshakeRefused
    * AuthAway           wait with backoff; nothing is wrong with the password
    * SignInRefused      a spent refresh token: sign in anew; a password: fix the environment
    * DatabaseAway       wait with backoff; nothing is wrong with the event
    * HandlerError
        * Reject         raised by a handler: this event will never work
"""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """
    What the exit status of a command says; there are no others.

    A second signal n ends the process at once with 128 + n: 130 for SIGINT, 143 for SIGTERM.
    """

    CLEAN = 0
    FAILED = 1
    USAGE = 2
    CONFIGURATION = 78

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS = {
    Status.CLEAN: "clean: done, or stopped because told to",
    Status.FAILED: "a difference was found, or the command failed",
    Status.USAGE: "the command line is wrong",
    Status.CONFIGURATION: "settings or handlers are wrong: starting again will not help",
}


class WorkerError(Exception):
    """Something the worker knows how to name."""


class ConfigError(WorkerError):
    """Settings or handlers are wrong. `mistakes` holds one line for each of them."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class CommandFailed(WorkerError):
    """A command could not do what was asked; the message says why and what to do."""


class FrameError(WorkerError):
    """A frame that cannot be read. `kind` names the fault and never holds a value of the frame."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class ConnectionLost(WorkerError):
    """The connection to Realtime is gone; the message says how."""


class HeartbeatMissed(ConnectionLost):
    """Nothing was heard after a heartbeat."""


class HandshakeRefused(ConnectionLost):
    """The server answered the handshake with an HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"handshake refused: HTTP {status} {reason}".rstrip())
        self.status = status
        self.reason = reason


class AuthAway(WorkerError):
    """Supabase Auth cannot be reached or has no time; the message never holds a secret."""


class SignInRefused(WorkerError):
    """Supabase Auth does not take the password or the refresh token; the message is its code."""


class DatabaseAway(WorkerError):
    """The database cannot be reached or is shutting down."""


class HandlerError(WorkerError):
    """A handler says what is to become of its event."""


class Reject(HandlerError):
    """This event will never work: give it up at once."""
