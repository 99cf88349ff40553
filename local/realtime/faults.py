"""What is broken on purpose just now, and what could be?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from typing import Any

import structlog

from local.realtime import acts
from local.realtime.changes.payload import NO_KEY, TOO_LARGE, UNAUTHORIZED
from local.realtime.refusals import (
    FATAL_MESSAGES,
    HANDSHAKE_REFUSALS,
    JOIN_REASONS,
    PASSING_FAILURES,
)
from local.realtime.switch import BYTES, CHANCE, ON, SECONDS, Switch, Switched, one_of
from local.realtime.token_expired import EXPIRED

log = structlog.get_logger()

CODE = one_of("close code", {str(code): code for code in (1000, 1001, 1006, 1009, 1011, 1012)})
REFUSED_HANDSHAKE = one_of("refusal of a handshake", HANDSHAKE_REFUSALS)
REFUSED_JOIN = one_of("reason", {reason: reason for reason in JOIN_REASONS})
FATAL = one_of("fatal message", {message: message for message in FATAL_MESSAGES})
MALFORMED = one_of("form", {name: name for name in acts.MALFORMED})
CHANGE_ERROR = one_of("code", {"413": TOO_LARGE, "401": UNAUTHORIZED, "400": NO_KEY})
FAILURE = one_of("message", {text: text for text in PASSING_FAILURES})


class Faults(Switched):
    """
    Every switch there is; all are off until thrown, and each is looked at in one place.

    A new one is a line here, the place that looks at it, its test and its row in the matrix.
    """

    # The connection
    freeze = Switch(ON, "on", "nothing is read or written, and no new connection is answered")
    half_open = Switch(
        ON, "on", "on the connections that exist nothing arrives any more, either way",
        when="once", strike=acts.lose,
    )  # fmt: skip
    close = Switch(
        CODE, "1012", "every connection is closed with this code; 1006 is a reset without a word",
        when="once", strike=acts.close,
    )  # fmt: skip
    disconnect = Switch(
        ON, "on", "`Server requested disconnect` on every channel, then close 1012",
        when="once", strike=acts.disconnect,
    )  # fmt: skip
    hang_up = Switch(CODE, "1011", "whoever is accepted is closed at once with this code")
    refuse_handshakes = Switch(
        REFUSED_HANDSHAKE, "Error connecting to Realtime",
        "who wants to connect gets the HTTP status that belongs to this message",
    )  # fmt: skip
    dns = Switch(
        ON, "on", "the name in the address that is printed does not resolve", when="at start"
    )
    slow_reader = Switch(
        SECONDS, "30", "as if the client read nothing: after so long with a frame unsent it is cut"
    )
    ignore_heartbeats = Switch(ON, "on", "no heartbeat is answered; all else goes on")
    token_expired = Switch(
        EXPIRED, "on", "every token issued so far has expired: channels are closed, joins refused",
        strike=acts.expire_tokens,
    )  # fmt: skip

    # Channels
    refuse_joins = Switch(
        REFUSED_JOIN, "RealtimeRestarting: Realtime is restarting, please standby",
        "every join is refused with this reason, after the delay that blocks the socket",
    )  # fmt: skip
    late_joins = Switch(
        SECONDS, "15", "every join is answered so late, and the socket waits: a cold database"
    )
    late_changes = Switch(
        SECONDS, "10", "changes begin to flow so late, and `Subscribed to PostgreSQL` comes then"
    )
    stale_close = Switch(
        SECONDS, "1", "after a rejoin the `phx_close` of the join before comes so late"
    )
    crash_channels = Switch(
        ON, "on", "every channel crashes: `phx_error`, and the socket stays",
        when="once", strike=acts.crash_channels,
    )  # fmt: skip
    shut_channels = Switch(
        FATAL, "Too many messages per second",
        "every channel is shut down with this message: `system`, then `phx_close`",
        when="once", strike=acts.shut_channels,
    )  # fmt: skip

    # Frames
    drop_frames = Switch(CHANCE, "0.2", "a frame to a client is lost")
    duplicate_frames = Switch(CHANCE, "0.2", "a frame to a client is sent twice")
    reorder_frames = Switch(CHANCE, "0.2", "a frame to a client is sent behind the next one")
    malformed_frame = Switch(
        MALFORMED, "text", "every connection gets one frame that cannot be read",
        when="once", strike=acts.malformed_frame,
    )  # fmt: skip
    oversized_frame = Switch(
        BYTES, "20000000", "every connection gets one broadcast of this size",
        when="once", strike=acts.oversized_frame,
    )  # fmt: skip

    # Changes and broadcasts
    cdc_dead = Switch(
        ON, "on", "no change is delivered, and nobody is told; a rejoin changes nothing"
    )
    cdc_lost = Switch(
        ON, "on", "subscriptions die without a word; only a rejoin or a new token brings them back",
        when="once", strike=acts.lose_changes,
    )  # fmt: skip
    change_error = Switch(
        CHANGE_ERROR, "413",
        "each change has this error: too large (413), no right (401), no primary key (400)",
    )  # fmt: skip
    failed_subscription = Switch(
        FAILURE, '{:error, "Too many database timeouts"}',
        "subscriptions fail with this message and are made again some seconds later",
        when="once", strike=acts.fail_changes,
    )  # fmt: skip
    broadcasts_dead = Switch(ON, "on", "no broadcast is delivered, and nobody is told")

    def __init__(self, connections: Collection[acts.Struck]) -> None:
        super().__init__()
        self._connections = connections
        self._moved = asyncio.Event()

    def moved(self, switch: Switch[Any]) -> None:
        value = self.shown(switch.name)
        if value is None:
            log.info("fault.taken_back", fault=switch.name)
        else:
            log.info("fault.thrown", fault=switch.name, value=value)
            self._strike(switch, list(self._connections))
        # Whoever waits for a change looks again.
        self._moved.set()
        self._moved = asyncio.Event()

    def joined(self, connection: acts.Struck) -> None:
        """A channel was joined: what waits for somebody to strike has found one."""
        for name in list(self.values):
            if (switch := self.switches()[name]).when == "once":
                self._strike(switch, [connection])

    def _strike(self, switch: Switch[Any], connections: Sequence[acts.Struck]) -> None:
        if switch.strike is None:
            return
        value = self.values[switch.name]
        met = [switch.strike(connection, value) for connection in connections]
        if any(met) and switch.when == "once":
            del self.values[switch.name]

    async def change(self) -> None:
        """Return when any switch is thrown or taken back."""
        await self._moved.wait()

    async def thawed(self) -> None:
        """Wait while everything is frozen."""
        while self.freeze:
            await self.change()

    async def pass_late(self, switch: str) -> None:
        """Wait the seconds this switch is set to, and no longer when it is taken back."""
        if (late := self.values.get(switch)) is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(late):
                    while switch in self.values:
                        await self.change()
