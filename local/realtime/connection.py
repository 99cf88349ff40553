"""What happens on one socket, from accepting it to closing it?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import Any

import structlog
from aiohttp import WSMessage, WSMsgType, web

from local.realtime.channel import Channel
from local.realtime.joining import join_channel
from local.realtime.outgoing import ERRORS, Outgoing, Overflow
from local.realtime.receiving import receive
from local.realtime.refusals import JoinRefused
from local.realtime.serializer import Frame, Inbound, Serializer, Unreadable, to_json
from local.realtime.tenant import Tenant

log = structlog.get_logger()

GONE_CHECK = 0.05  # seconds


class HangUp(Exception):
    """The connection ends: with a close frame of this code, or cut without a word (None)."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


class ClientGone(HangUp):
    """The client ended it; nothing is left to say."""

    def __init__(self) -> None:
        super().__init__(None)


class Connection:
    """
    One client. Its frames are handled one after the other, as the real transport process does.

    While a join is being answered nothing else is read, and what others send to this client is
    held back behind the answer. A `lost` one is cut off from its client without either end
    having said so.
    """

    def __init__(
        self,
        tenant: Tenant,
        socket: web.WebSocketResponse,
        serializer: Serializer,
        token: str,
        transport: asyncio.Transport,
    ) -> None:
        settings = tenant.settings
        self.tenant = tenant
        self.serializer = serializer
        self.token = token  # a channel without one of its own uses it
        self.channels: dict[str, Channel] = {}
        self.closed = asyncio.Event()
        self.lost = False
        self._socket = socket
        self._transport = transport
        self._outgoing = Outgoing(
            socket, tenant.faults, settings.send_timeout, settings.max_waiting
        )
        self._over = False
        self._tasks: asyncio.TaskGroup

    async def run(self) -> None:
        """Serve until either side ends it; then leave every channel."""
        end: BaseException = ClientGone()
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self.start(self._write())
                self.start(self._reap())
                await self._read()
        except* HangUp as ends:
            end = ends.exceptions[0]
        finally:
            self._over = True
            for channel in self.channels.values():
                channel.forget()
        await self._close(end)
        self.closed.set()

    def cut(self) -> None:
        """Reset the connection without a word, which a client reports as close code 1006."""
        socket = self._transport.get_extra_info("socket")
        if socket is not None and socket.fileno() != -1:
            socket.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
        self._transport.abort()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that ends with the connection at the latest."""
        return self._tasks.create_task(work)

    def hang_up(self, code: int | None) -> None:
        """End from outside: with a close frame of this code, or cut (None)."""
        if not self._over:
            self.start(self._raise(HangUp(code)))
        elif self.lost:
            self.cut()

    def lose(self) -> None:
        """From now on nothing of the client arrives here and nothing of ours there."""
        self.lost = True
        self._outgoing.lose()

    def send(self, frame: Frame) -> None:
        """Queue a frame; never waits. A client that reads too little is cut off."""
        with self._cut_on_overflow():
            self._outgoing.put(frame)

    def reply(self, to: Inbound, status: str, response: object) -> None:
        self.send(self._reply_frame(to, status, response))

    def _reply_frame(self, to: Inbound, status: str, response: object) -> Frame:
        payload = to_json({"response": response, "status": status})
        return self.serializer.text(
            to.topic, "phx_reply", payload, join_ref=to.join_ref, ref=to.ref
        )

    @contextlib.contextmanager
    def _cut_on_overflow(self) -> Iterator[None]:
        try:
            yield
        except Overflow:
            self.cut()

    # Reading

    async def _read(self) -> None:
        while True:
            data = await self._receive()
            try:
                message = self.serializer.read(data)
            except Unreadable:
                log.info("client_frame.dropped", size=len(data))
                continue
            await self._handle(message)

    async def _receive(self) -> str | bytes:
        """The next message; any frame, a ping too, counts as life."""
        while True:
            message = await self._next()
            await self.tenant.faults.thawed()
            if self.lost:
                if message is not None:  # it has not arrived: the time without a byte goes on
                    await self._gone(self.tenant.settings.idle_timeout)
                raise ClientGone
            if message is None:
                raise HangUp(1000)
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                data: str | bytes = message.data
                return data
            if message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is WSMsgType.CLOSE:
                await self._socket.close(drain=False)
                raise ClientGone
            elif message.type is not WSMsgType.PONG:
                raise ClientGone

    async def _next(self) -> WSMessage | None:
        """Whatever comes next; None when nothing came for too long."""
        try:
            return await self._socket.receive(self.tenant.settings.idle_timeout)
        except TimeoutError:
            return None

    async def _gone(self, patience: float | None = None) -> None:
        """Wait until the client has given up, whatever it says until then, or so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                # aiohttp tells only those who read, and reading would answer a close.
                while not self._transport.is_closing():  # noqa: ASYNC110 - there is no event
                    await asyncio.sleep(GONE_CHECK)

    async def _handle(self, message: Inbound) -> None:
        if message.topic == "phoenix" and message.event == "heartbeat":
            if not self.tenant.faults.ignore_heartbeats:
                self.reply(message, "ok", {})
        elif message.event == "phx_join":
            await self._join(message)
        elif (channel := self.channels.get(message.topic)) is not None:
            await receive(channel, message)
        elif message.event == "phx_leave":
            self.reply(message, "ok", {})
        else:
            self.reply(message, "error", {"reason": "unmatched topic"})

    async def _join(self, message: Inbound) -> None:
        """Answer a join before anything else; the channel that had the topic is gone either way."""
        self._outgoing.hold()
        end: int | None = None
        if (old := self.channels.pop(message.topic, None)) is not None:
            old.replace()
        try:
            response = await join_channel(self, message)
        except JoinRefused as refused:
            if not refused.at_once:
                await asyncio.sleep(self.tenant.settings.join_error_delay)
            answer = self._reply_frame(message, "error", {"reason": refused.reason})
            end = refused.hang_up
        else:
            answer = self._reply_frame(message, "ok", response)
            self.tenant.faults.joined(self)
        with self._cut_on_overflow():
            self._outgoing.release(answer)
        if end is not None:
            raise HangUp(end)

    # Writing and ending

    async def _write(self) -> None:
        try:
            await self._outgoing.run()
        except ERRORS:
            raise HangUp(None) from None

    async def _reap(self) -> None:
        """The real server looks from time to time who is connected and uses nothing."""
        while True:
            await asyncio.sleep(self.tenant.settings.no_channel_timeout)
            if not self.channels:
                raise HangUp(None)

    async def _raise(self, end: HangUp) -> None:
        raise end

    async def _close(self, end: BaseException) -> None:
        if isinstance(end, ClientGone):
            if self.lost:
                await self._gone()  # aiohttp would say goodbye
        elif isinstance(end, HangUp) and end.code is not None and not self.lost:
            with contextlib.suppress(*ERRORS):
                async with asyncio.timeout(self.tenant.settings.close_timeout):
                    await self._outgoing.flush()
            await self._socket.close(code=end.code)
        else:
            self.cut()
