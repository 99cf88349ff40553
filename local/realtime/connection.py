"""What happens on one socket, from accepting it to closing it?"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import ClientError, WSMessage, WSMsgType, web

from local.realtime.channel import Channel
from local.realtime.join import JoinRefused
from local.realtime.joining import join_channel
from local.realtime.serializer import Frame, Inbound, Serializer, Unreadable, to_json

if TYPE_CHECKING:
    from local.realtime.server import Server

log = structlog.get_logger()


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
    held back behind the answer.
    """

    def __init__(
        self,
        server: Server,
        socket: web.WebSocketResponse,
        serializer: Serializer,
        token: str,
        transport: asyncio.Transport,
    ) -> None:
        self.server = server
        self.serializer = serializer
        self.token = token  # a channel without one of its own uses it
        self.channels: dict[str, Channel] = {}
        self._socket = socket
        self._transport = transport
        self._waiting: deque[Frame] = deque()
        self._waiting_size = 0
        self._held: list[Frame] | None = None
        self._wake = asyncio.Event()
        self.closed = asyncio.Event()
        self._over = False
        self._tasks: asyncio.TaskGroup

    async def run(self) -> None:
        """Serve until either side ends it; then leave every channel."""
        end: BaseException = ClientGone()
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self.start(self._write())
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

    def send(self, frame: Frame) -> None:
        """Queue a frame; never waits. A client that reads too little is cut off."""
        if self._held is not None:
            self._held.append(frame)
            return
        self._waiting.append(frame)
        self._waiting_size += len(frame.data)
        self._wake.set()
        if self._waiting_size > self.server.settings.max_waiting:
            self._waiting.clear()
            self.cut()

    def reply(self, to: Inbound, status: str, response: object) -> None:
        self.send(self._reply_frame(to, status, response))

    def _reply_frame(self, to: Inbound, status: str, response: object) -> Frame:
        payload = to_json({"response": response, "status": status})
        return self.serializer.text(
            to.topic, "phx_reply", payload, join_ref=to.join_ref, ref=to.ref
        )

    # Reading

    async def _read(self) -> None:
        while True:
            data = await self._receive()
            await self.server.faults.thawed.wait()
            try:
                message = self.serializer.read(data)
            except Unreadable:
                log.info("client_frame.dropped", size=len(data))
                continue
            await self._handle(message)

    async def _receive(self) -> str | bytes:
        """The next message; any frame, a ping too, counts as life."""
        while True:
            try:
                message: WSMessage = await self._socket.receive(self.server.settings.idle_timeout)
            except TimeoutError:
                raise HangUp(1000) from None
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                data: str | bytes = message.data
                return data
            if message.type is WSMsgType.PING:
                await self.server.faults.thawed.wait()
                await self._socket.pong(message.data)
            elif message.type is not WSMsgType.PONG:
                raise ClientGone

    async def _handle(self, message: Inbound) -> None:
        if message.topic == "phoenix" and message.event == "heartbeat":
            if self.server.faults.answer_heartbeats:
                self.reply(message, "ok", {})
        elif message.event == "phx_join":
            await self._join(message)
        elif (channel := self.channels.get(message.topic)) is not None:
            await channel.handle(message)
        elif message.event == "phx_leave":
            self.reply(message, "ok", {})
        else:
            self.reply(message, "error", {"reason": "unmatched topic"})

    async def _join(self, message: Inbound) -> None:
        """Answer a join before anything else; the channel that had the topic is gone either way."""
        held: list[Frame] = []
        self._held = held
        end: int | None = None
        if (old := self.channels.pop(message.topic, None)) is not None:
            old.close()
        try:
            response = await join_channel(self, message)
        except JoinRefused as refused:
            if not refused.at_once:
                await asyncio.sleep(self.server.settings.join_error_delay)
            answer = self._reply_frame(message, "error", {"reason": refused.reason})
            end = refused.hang_up
        else:
            answer = self._reply_frame(message, "ok", response)
        self._held = None
        for frame in (answer, *held):
            self.send(frame)
        if end is not None:
            raise HangUp(end)

    # Writing

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._send_waiting()

    async def _send_waiting(self) -> None:
        while self._waiting:
            await self.server.faults.thawed.wait()
            frame = self._waiting.popleft()
            self._waiting_size -= len(frame.data)
            await self._send(frame)

    async def _send(self, frame: Frame) -> None:
        kind = WSMsgType.BINARY if frame.binary else WSMsgType.TEXT
        try:
            async with asyncio.timeout(self.server.settings.send_timeout):
                await self._socket.send_frame(frame.data, kind)
        except (TimeoutError, ConnectionError, ClientError):
            raise HangUp(None) from None

    # Ending

    async def _raise(self, end: HangUp) -> None:
        raise end

    async def _close(self, end: BaseException) -> None:
        if isinstance(end, HangUp) and end.code is not None:
            with contextlib.suppress(TimeoutError, HangUp):
                async with asyncio.timeout(self.server.settings.close_timeout):
                    await self._send_waiting()
            await self._socket.close(code=end.code)
        elif not isinstance(end, ClientGone):
            self.cut()
