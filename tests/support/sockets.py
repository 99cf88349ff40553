"""How does a test speak to the local Realtime server, frame by frame?"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect

from local import tokens
from local.realtime.server import Server, serving
from local.realtime.settings import fast
from tests.support.databases import FreshDatabase

SECRET = "a-secret-of-the-tests-that-is-32-bytes-long"


class Heard(NamedTuple):
    """A text frame of the server. In version 1 there is no join_ref: it is None."""

    join_ref: str | None
    ref: str | None
    topic: str
    event: str
    payload: Any


class Client:
    """A socket with the JSON of its version on it, and no opinion of the protocol."""

    def __init__(self, socket: ClientConnection, vsn: str) -> None:
        self.socket = socket
        self.vsn = vsn
        self._refs = map(str, itertools.count(1))

    async def push(
        self,
        topic: str,
        event: str,
        payload: object,
        *,
        ref: str | None = None,
        join_ref: str | None = None,
    ) -> str:
        """Send a message with a reference of its own; return the reference."""
        ref = ref or next(self._refs)
        if self.vsn == "2.0.0":
            message: object = [join_ref, ref, topic, event, payload]
        else:
            names = ("join_ref", "ref", "topic", "event", "payload")
            message = dict(zip(names, (join_ref, ref, topic, event, payload), strict=True))
        await self.socket.send(json.dumps(message))
        return ref

    async def join(self, topic: str, *, token: str | None = None, **config: Any) -> Heard:
        """Join, and return the answer; join_ref is the same as ref."""
        ref = next(self._refs)
        payload = {"config": config} | ({"access_token": token} if token else {})
        await self.push(topic, "phx_join", payload, ref=ref, join_ref=ref)
        return await self.until(lambda heard: heard.event == "phx_reply" and heard.ref == ref)

    async def hear(self) -> Heard:
        """The next frame, which must be text."""
        data = await self.socket.recv()
        assert isinstance(data, str)
        message = json.loads(data)
        if self.vsn == "2.0.0":
            return Heard(*message)
        assert "join_ref" not in message
        return Heard(None, message["ref"], message["topic"], message["event"], message["payload"])

    async def hear_bytes(self) -> bytes:
        """The next frame, which must be binary."""
        data = await self.socket.recv()
        assert isinstance(data, bytes)
        return data

    async def until(self, wanted: Callable[[Heard], bool]) -> Heard:
        """The first frame that is wanted; those before it are forgotten."""
        while not wanted(heard := await self.hear()):
            pass
        return heard

    async def event(self, event: str) -> Heard:
        return await self.until(lambda heard: heard.event == event)

    async def beat(self) -> Heard:
        """
        The next frame after a heartbeat was sent.

        It is the heartbeat's answer exactly when nothing else was on its way: so a test can tell
        that something was not sent without waiting for it.
        """
        await self.push("phoenix", "heartbeat", {}, ref="beat")
        return await self.hear()


def token(role: str = "service_role", **claims: Any) -> str:
    return tokens.issue(SECRET, role, **claims)


def address(server: Server, vsn: str = "2.0.0", key: str | None = None) -> str:
    query = urlencode({"apikey": key or token(), "vsn": vsn})
    return f"{server.url.replace('http', 'ws')}/realtime/v1/websocket?{query}"


@asynccontextmanager
async def client(
    server: Server, vsn: str = "2.0.0", key: str | None = None
) -> AsyncIterator[Client]:
    """A connected client; it leaves politely at the end."""
    # The proxy of the machine, if it has one, is no business of ours.
    async with connect(address(server, vsn, key), proxy=None, max_size=None) as socket:
        yield Client(socket, vsn)


@asynccontextmanager
async def served(database: FreshDatabase, **changes: Any) -> AsyncIterator[Server]:
    """A server of its own for a test that needs other settings than the fixture's."""
    async with serving(
        admin_url=database.admin_url, jwt_secret=SECRET, settings=fast(**changes)
    ) as server:
        yield server
