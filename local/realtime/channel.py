"""What does one joined channel do?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
import structlog

from local.realtime.authorization import Extension, Reading, may_read
from local.realtime.broadcast import receive_broadcast
from local.realtime.limits import Window
from local.realtime.postgres_changes import PostgresChanges
from local.realtime.presence_events import announce, receive_presence
from local.realtime.serializer import Frame, Inbound, Serializer, to_json
from local.realtime.topics import Topic
from local.tokens import Claims, TokenRefused

if TYPE_CHECKING:
    from local.realtime.connection import Connection
    from local.realtime.join import Join

log = structlog.get_logger()


@dataclass(slots=True)
class Rights:
    """A channel's rights; what is not in `write` was not asked yet."""

    read: Reading
    write: dict[Extension, bool]


class Channel:
    """
    A topic that one connection has joined, until it leaves, is shut down or the connection ends.

    `topic` is its name on the wire, `name` the one without `realtime:`.
    """

    def __init__(
        self, connection: Connection, message: Inbound, join: Join, token: str, claims: Claims
    ) -> None:
        self.connection = connection
        self.server = connection.server
        self.topic = message.topic
        self.name = message.topic.removeprefix("realtime:")
        self.join_ref = message.join_ref
        self.join = join
        self.token = token
        self.claims = claims
        self.rights = everything()
        self.presence_enabled = join.presence_enabled or self.server.settings.presence_enabled
        limits = self.server.settings.limits
        self.presence_calls = Window(
            limits.presence_calls, limits.presence_window, asyncio.get_running_loop().time
        )
        self.replayed: frozenset[str] = frozenset()
        self.changes: PostgresChanges | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def serializer(self) -> Serializer:
        return self.connection.serializer

    @property
    def key(self) -> Topic:
        return Topic(self.name, self.join.private)

    # Sending

    def send(self, frame: Frame) -> None:
        self.connection.send(frame)

    def push(self, event: str, payload: object) -> None:
        """A message of this channel alone, which carries its join_ref."""
        data = to_json(payload)
        self.send(self.serializer.text(self.topic, event, data, join_ref=self.join_ref))

    def reply(self, to: Inbound, status: str, response: object) -> None:
        self.connection.reply(to, status, response)

    def system(self, extension: str, status: str, message: str) -> None:
        self.push(
            "system",
            {
                "channel": self.name,
                "extension": extension,
                "message": message,
                "status": status,
            },
        )

    # Living

    def open(self) -> None:
        """The join is accepted: be found, hear the topic, watch the token."""
        self.connection.channels[self.topic] = self
        self.server.topics.join(self.key, self)
        self._watch_token()

    async def handle(self, message: Inbound) -> None:
        if message.event == "phx_leave":
            self.reply(message, "ok", {})
            self._end()
        elif message.event == "broadcast":
            await receive_broadcast(self, message)
        elif message.event == "presence":
            await receive_presence(self, message)
        elif message.event == "access_token" and isinstance(message.payload, Mapping):
            await self._take_token(message.payload.get("access_token"))

    def shut_down(self, why: str) -> None:
        """End the channel from this side: say why, then close it."""
        self.system("system", "error", why)
        self._end()

    def close(self) -> None:
        """Leave the topic and say so; the reference is the one it was joined with."""
        self.forget()
        self._say_over("phx_close", b"{}")

    def replace(self) -> None:
        """As `close`, because the topic is joined anew."""
        self.forget()
        if (late := self.server.faults.stale_close) is None:
            self._say_over("phx_close", b"{}")
        else:
            self.connection.start(self._say_late(late))

    def crash(self) -> None:
        """End as a process that failed does: the client may join again at once."""
        self.connection.channels.pop(self.topic, None)
        self.forget()
        self._say_over("phx_error", b'{"reason":"channel_crash"}')

    def _say_over(self, event: str, payload: bytes) -> None:
        ref = self.join_ref
        self.send(self.serializer.text(self.topic, event, payload, join_ref=ref, ref=ref))

    async def _say_late(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._say_over("phx_close", b"{}")

    def forget(self) -> None:
        """Leave everything without a word to the client."""
        if self._timer is not None:
            self._timer.cancel()
        if self.changes is not None:
            self.changes.stop()
        self.server.topics.leave(self.key, self)
        announce(self, self.server.presences.untrack(self.key, self))

    def _end(self) -> None:
        if self.connection.channels.get(self.topic) is self:
            del self.connection.channels[self.topic]
            self.close()

    # The token

    def _watch_token(self) -> None:
        left = float(self.claims["exp"]) - time.time()
        # Never 0: what is left may be a fraction of the second in which it is over.
        delay = max(0.01, min(self.server.settings.token_check, left))
        self._timer = asyncio.get_running_loop().call_later(delay, self.confirm_token)

    def confirm_token(self) -> None:
        """End the channel if its token is no good any more."""
        try:
            self.server.read_token(self.token)
        except TokenRefused as refused:
            self.shut_down(refused.message)
        else:
            self._watch_token()

    async def _take_token(self, token: object) -> None:
        """A new token; never answered. One that is not accepted ends the channel."""
        if not isinstance(token, str) or token.startswith("sb_") or token == self.token:
            return None
        before, self.token = self.rights.read, token
        try:
            self.claims = self.server.read_token(token)
            self.rights = await self.ask_rights()
        except TokenRefused as refused:
            return self.shut_down(refused.message)
        except (OSError, asyncpg.InterfaceError):
            return self.shut_down("Realtime was unable to connect to the project database")
        if _lost(before, self.rights.read):
            text = "You no longer have permission to read from this Channel topic: "
            return self.shut_down(text + self.name)
        if self._timer is not None:
            self._timer.cancel()
        self._watch_token()
        if self.changes is not None:
            self.changes.lost = False
            self.changes.subscribe()
        return None

    async def ask_rights(self) -> Rights:
        """What the policies say of reading; writing is asked when somebody writes."""
        if not self.join.private:
            return everything()
        try:
            reading = await may_read(self.server.pool, self.claims, self.name)
        except asyncpg.PostgresError as error:
            log.warning("channel_policies.failed", reason=type(error).__name__)
            reading = Reading(broadcast=False, presence=False)
        if not (reading.broadcast or reading.presence):
            text = f"You do not have permissions to read from this Channel topic: {self.name}"
            raise TokenRefused("Unauthorized", text)
        return Rights(reading, {})


def everything() -> Rights:
    """The rights on a public channel."""
    return Rights(Reading(broadcast=True, presence=True), {"broadcast": True, "presence": True})


def _lost(before: Reading, now: Reading) -> bool:
    return (before.broadcast and not now.broadcast) or (before.presence and not now.presence)
