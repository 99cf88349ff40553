"""What does one joined channel do?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import asyncpg
import structlog

from local.realtime.authorization import Reading, Rights, may_read
from local.realtime.join import Join
from local.realtime.limits import Window
from local.realtime.outage import AWAY
from local.realtime.serializer import Frame, Inbound, Serializer, to_json
from local.realtime.tenant import Tenant
from local.realtime.topics import Topic
from local.tokens import Claims, TokenRefused

log = structlog.get_logger()


class Owner(Protocol):
    """The connection of a channel, as far as the channel is concerned."""

    tenant: Tenant
    serializer: Serializer
    token: str
    channels: dict[str, Channel]

    def send(self, frame: Frame) -> None: ...

    def reply(self, to: Inbound, status: str, response: object) -> None: ...

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]: ...


class Changes(Protocol):
    """The subscriptions of a channel; `lost` ones deliver nothing and are told nothing."""

    lost: bool

    def subscribe(self) -> None: ...

    def fail(self, why: str) -> None: ...


class Channel:
    """
    A topic that one connection has joined, until it leaves, is shut down or the connection ends.

    `topic` is its name on the wire, `name` the one without `realtime:`. Each of `at_end` is called
    when it is over, however that came about.
    """

    def __init__(
        self, connection: Owner, message: Inbound, join: Join, token: str, claims: Claims
    ) -> None:
        self.connection = connection
        self.tenant = connection.tenant
        self.topic = message.topic
        self.name = message.topic.removeprefix("realtime:")
        self.join_ref = message.join_ref
        self.join = join
        self.token = token
        self.claims = claims
        self.rights = Rights.everything()
        self.presence_enabled = join.presence_enabled or self.tenant.settings.presence_enabled
        limits = self.tenant.settings.limits
        self.presence_calls = Window(
            limits.presence_calls, limits.presence_window, asyncio.get_running_loop().time
        )
        self.replayed: frozenset[str] = frozenset()
        self.changes: Changes | None = None
        self.at_end: list[Callable[[], None]] = []
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
        self.tenant.topics.join(self.key, self)
        self._watch_token()

    def leave(self, message: Inbound) -> None:
        self.reply(message, "ok", {})
        self._end()

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
        if (late := self.tenant.faults.stale_close) is None:
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
        self.tenant.topics.leave(self.key, self)
        for end in self.at_end:
            end()

    def _end(self) -> None:
        if self.connection.channels.get(self.topic) is self:
            del self.connection.channels[self.topic]
            self.close()

    # The token

    def _watch_token(self) -> None:
        left = float(self.claims["exp"]) - time.time()
        # Never 0: what is left may be a fraction of the second in which it is over.
        delay = max(0.01, min(self.tenant.settings.token_check, left))
        if self._timer is not None:
            self._timer.cancel()  # it may have been looked at out of turn
        self._timer = asyncio.get_running_loop().call_later(delay, self.confirm_token)

    def confirm_token(self) -> None:
        """End the channel if its token is no good any more."""
        try:
            self.tenant.read_token(self.token)
        except TokenRefused as refused:
            self.shut_down(refused.message)
        else:
            self._watch_token()

    async def take_token(self, token: object) -> None:
        """A new token; never answered. One that is not accepted ends the channel."""
        if not isinstance(token, str) or token.startswith("sb_") or token == self.token:
            return None
        before, self.token = self.rights.read, token
        try:
            self.claims = self.tenant.read_token(token)
            self.rights = await self.ask_rights()
        except TokenRefused as refused:
            return self.shut_down(refused.message)
        except AWAY:
            return self.shut_down("Realtime was unable to connect to the project database")
        if _lost(before, self.rights.read):
            text = "You no longer have permission to read from this Channel topic: "
            return self.shut_down(text + self.name)
        self._watch_token()
        if self.changes is not None:
            self.changes.lost = False
            self.changes.subscribe()
        return None

    async def ask_rights(self) -> Rights:
        """What the policies say of reading; writing is asked when somebody writes."""
        if not self.join.private:
            return Rights.everything()
        try:
            reading = await may_read(self.tenant.pool, self.claims, self.name)
        except asyncpg.PostgresError as error:
            log.warning("channel_policies.failed", reason=type(error).__name__)
            reading = Reading(broadcast=False, presence=False)
        if not (reading.broadcast or reading.presence):
            text = f"You do not have permissions to read from this Channel topic: {self.name}"
            raise TokenRefused("Unauthorized", text)
        return Rights(reading, {})


def _lost(before: Reading, now: Reading) -> bool:
    return (before.broadcast and not now.broadcast) or (before.presence and not now.presence)
