"""A Realtime server a test writes by hand, on a real socket, for what only one test needs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from typing import Any

import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from worker.event import Event, Gap
from worker.realtime.link import Link
from worker.realtime.timing import Timing
from worker.subscription import Binding, Subscription

KEY = "secret-key"
LEADS = Subscription("leads", (Binding("public", "leads"),))

# Short enough not to wait for, long enough for a busy machine.
FAST = Timing(heartbeat=0.3, silence=0.25, join=2.0, subscribed=2.0, pace=0.0, refused=30.0)
QUICK = Timing(heartbeat=2.0, silence=1.5, pace=0.0)  # where nothing is silent on purpose


class Peer:
    """One connection as the server sees it."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.heartbeats = 0
        self.join_refs: list[str] = []

    async def read(self) -> list[Any]:
        """Return the next frame of the client."""
        frame = orjson.loads(await self.connection.recv())
        assert isinstance(frame, list)
        return frame

    async def say(self, topic: str, event: str, payload: Any, join: Any = None) -> None:
        await self.connection.send(orjson.dumps([join, None, topic, event, payload]).decode())

    async def answer(self, frame: list[Any], status: str = "ok", **response: Any) -> None:
        payload = {"status": status, "response": response}
        reply = [frame[0], frame[1], frame[2], "phx_reply", payload]
        await self.connection.send(orjson.dumps(reply).decode())

    async def accept(self, frame: list[Any]) -> None:
        """Answer a join, and say that changes flow."""
        self.join_refs.append(frame[0])
        await self.answer(frame, postgres_changes=[])
        await self.subscribed(frame[0])

    async def subscribed(self, join_ref: str | None) -> None:
        message = "Subscribed to PostgreSQL"
        payload = {"extension": "postgres_changes", "status": "ok", "message": message}
        await self.say("realtime:leads", "system", payload, join_ref)

    async def change(self, number: int, **differences: Any) -> None:
        await self.connection.send(change(number, **differences))

    async def be_good(self) -> None:
        """Answer everything, until the client goes."""
        while True:
            await self.serve_one()

    async def serve_one(self) -> str:
        """Answer the next frame; return its event."""
        frame = await self.read()
        if frame[3] == "heartbeat":
            self.heartbeats += 1
            await self.answer(frame)
        elif frame[3] == "phx_join":
            await self.accept(frame)
        return str(frame[3])

    async def until(self, event: str) -> None:
        """Answer everything up to and with the next frame of this event."""
        while await self.serve_one() != event:
            pass


def change(number: int, **differences: Any) -> str:
    data = {
        "schema": "public",
        "table": "leads",
        "type": "INSERT",
        "commit_timestamp": "2026-11-22T14:03:11.482Z",
        "columns": [{"name": "id", "type": "int8"}],
        "record": {"id": number},
        "errors": None,
    }
    payload = {"ids": [1], "data": {**data, **differences}}
    return orjson.dumps([None, None, "realtime:leads", "postgres_changes", payload]).decode()


class Ear:
    """A listener that keeps what it hears; while `deaf`, it takes nothing (back-pressure)."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Event] = asyncio.Queue()
        self.opened: list[tuple[str, frozenset[str], frozenset[str]]] = []
        self.listens = asyncio.Event()
        self.listens.set()

    async def receive(self, event: Event, size: int) -> None:
        await self.listens.wait()
        self.heard.put_nowait(event)

    def gap_opened(self, reason: str, tables: frozenset[str], topics: frozenset[str]) -> None:
        self.opened.append((reason, tables, topics))

    async def next(self) -> Event:
        return await self.heard.get()

    async def next_gap(self) -> Gap:
        """Return the next gap that closes; other events before it are thrown away."""
        while True:
            event = await self.heard.get()
            if isinstance(event, Gap):
                return event


Script = Callable[[Peer], Awaitable[None]]


@contextlib.asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[str]:
    """Run a server whose every connection follows the script; yield its URL."""

    async def follow(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):  # the client may go when it likes
            await script(Peer(connection))

    async with serve(follow, "127.0.0.1", 0, compression=None, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def running(link: Link) -> AsyncIterator[Link]:
    """Run the link beside the test; it leaves politely at the end."""
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def at_once() -> Iterator[float]:
    return (0.0 for _ in count())


def make(url: str, ear: Ear, **differences: Any) -> Link:
    options: dict[str, Any] = {
        "url": url,
        "key": KEY,
        "subscriptions": [LEADS],
        "listener": ear,
        "hidden_columns": frozenset({"password_hash"}),
        "timing": FAST,
        "backoff": at_once,
    }
    return Link(**{**options, **differences})


def one_after_another(*scripts: Script) -> Script:
    """Each connection follows the next script, those after the last follow the last."""
    left = list(scripts)

    async def script(peer: Peer) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(peer)

    return script
