"""How does a test work the official JavaScript client?"""

from __future__ import annotations

import asyncio
import base64
import itertools
from asyncio.subprocess import PIPE, Process
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from local.realtime.server import Server
from tests.support.node_packages import NODE, SOURCE
from tests.support.sockets import token

Listen = tuple[str, dict[str, Any]]  # what kind, and which of it

BROADCASTS: Listen = ("broadcast", {"event": "*"})
PRESENCE: Listen = ("presence", {"event": "*"})
SYSTEM: Listen = ("system", {})


def changes(table: str, event: str = "*", **more: Any) -> Listen:
    return "postgres_changes", {"event": event, "schema": "public", "table": table, **more}


class JavaScriptError(Exception):
    """The client threw; the text is JavaScript's."""


class JavaScript:
    """A RealtimeClient in a node process of its own."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._heard: defaultdict[tuple[str | None, str], asyncio.Queue[Any]] = defaultdict(
            asyncio.Queue
        )

    async def ask(self, do: str, **arguments: Any) -> Any:
        """What the driver's function of that name returned. Raises JavaScriptError."""
        assert self._process.stdin
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(orjson.dumps({"id": number, "do": do, **arguments}) + b"\n")
        await self._process.stdin.drain()
        return await answer

    async def channel(self, name: str, *on: Listen, **config: Any) -> Channel:
        """A channel that is being joined; its states are told as kind `state`."""
        await self.ask("subscribe", channel=name, config=config, on=on)
        return Channel(self, name)

    async def joined(self, name: str, *on: Listen, **config: Any) -> Channel:
        channel = await self.channel(name, *on, **config)
        assert await channel.heard("state") == ["SUBSCRIBED", None]
        return channel

    async def heard(self, channel: str | None, kind: str) -> Any:
        return await self._heard[channel, kind].get()

    async def listen(self) -> None:
        """Sort what the driver says. Raises JavaScriptError if it ends before it was told to."""
        assert self._process.stdin and self._process.stdout
        async for line in self._process.stdout:
            self._sort(orjson.loads(line))
        if not self._process.stdin.is_closing():
            raise JavaScriptError("node ended; its error output says why")

    def _sort(self, said: dict[str, Any]) -> None:
        if "id" not in said:
            self._heard[said["channel"], said["kind"]].put_nowait(said.get("what"))
            return
        answer = self._answers.pop(said["id"])
        if "error" in said:
            answer.set_exception(JavaScriptError(said["error"]))
        else:
            answer.set_result(said["ok"])


class Channel:
    """A channel of the JavaScript client."""

    def __init__(self, client: JavaScript, name: str) -> None:
        self._client = client
        self.name = name

    async def ask(self, do: str, **arguments: Any) -> Any:
        return await self._client.ask(do, channel=self.name, **arguments)

    async def heard(self, kind: str) -> Any:
        """The next of its kind: `state`, `broadcast`, `postgres_changes`, `presence`, `system`."""
        return await self._client.heard(self.name, kind)

    async def send(self, event: str, payload: object, **options: Any) -> Any:
        """Broadcast JSON, or bytes as bytes; `timeout` in milliseconds."""
        return await self.ask("send", event=event, **_form(payload), **options)

    async def post(self, event: str, payload: object) -> Any:
        """The same through HTTP."""
        return await self.ask("post", event=event, **_form(payload))


def _form(payload: object) -> dict[str, Any]:
    if isinstance(payload, bytes):
        return {"base64": base64.b64encode(payload).decode()}
    return {"payload": payload}


def raw(payload: dict[str, str]) -> bytes:
    """The bytes that came as bytes."""
    return base64.b64decode(payload["base64"])


@asynccontextmanager
async def javascript(
    packages: Path, server: Server, *, key: str | None = None, **options: Any
) -> AsyncIterator[JavaScript]:
    """A client of the server; `options` are its constructor's."""
    process = await asyncio.create_subprocess_exec(
        # Nothing of our environment: NODE_OPTIONS and proxies would steer it.
        *(NODE, SOURCE / "driver.cjs"), env={"NODE_PATH": str(packages)}, stdin=PIPE, stdout=PIPE,
        limit=2**24,
    )  # fmt: skip
    client = JavaScript(process)
    options = {"params": {"apikey": key or token()}, **options}
    url = f"{server.url.replace('http', 'ws')}/realtime/v1"
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(client.listen())
        try:
            await client.ask("connect", url=url, reconnect=20, options=options)
            yield client
        finally:
            assert process.stdin
            process.stdin.close()
            await process.wait()
