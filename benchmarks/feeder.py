"""What does the readers' server do? Joins are answered; prepared frames are poured when asked."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import OP_TEXT, Frame
from websockets.http11 import Request, Response

from .changes import changes

TOGETHER = 64  # frames written at a time

Message = tuple[str | None, str | None, str, str, object]


class Feeder:
    """
    A Realtime server for one reader at a time, in a process of its own.

    The reader joins channels with bindings for tables. `GET /prepare` makes the frames that it
    will be sent, `GET /pour` sends them, as fast as it takes them.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._ids = itertools.count(1)
        self._bindings: dict[str, tuple[str, int]] = {}  # table → topic and binding id
        self._connection: ServerConnection | None = None
        self._is_v1 = False
        self._blocks: list[bytes] = []
        self._pouring: asyncio.Task[None] | None = None

    def asked(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer `/prepare` and `/pour`; let anything else become a WebSocket."""
        path = urlsplit(request.path).path
        if path == "/prepare":
            self._blocks = list(self._prepared())
        elif path == "/pour":
            self._pouring = asyncio.create_task(self._pour())
        else:
            return None
        return connection.respond(HTTPStatus.OK, "")

    async def follow(self, connection: ServerConnection) -> None:
        """Answer joins and heartbeats until the reader goes."""
        assert connection.request is not None
        asked = parse_qs(urlsplit(connection.request.path).query)
        self._is_v1 = asked.get("vsn") != ["2.0.0"]
        self._connection, self._bindings = connection, {}
        try:
            async for raw in connection:
                for message in self._answers(raw):
                    await connection.send(self._encode(message), text=True)
        except ConnectionClosed:
            pass  # a reader that has counted its frames may go without a word
        finally:
            if self._pouring is not None:
                self._pouring.cancel()

    async def _pour(self) -> None:
        assert self._connection is not None
        for block in self._blocks:
            # Whole frames, made before: nothing here costs what the reader does not.
            self._connection.transport.write(block)
            await self._connection.drain()

    def _prepared(self) -> Iterator[bytes]:
        frames: list[bytes] = []
        for data in changes(self._count):
            topic, number = self._bindings[data["table"]]
            payload = {"data": data, "ids": [number]}
            message = self._encode((None, None, topic, "postgres_changes", payload))
            frames.append(Frame(OP_TEXT, message).serialize(mask=False))
        for start in range(0, len(frames), TOGETHER):
            yield b"".join(frames[start : start + TOGETHER])

    def _answers(self, raw: str | bytes) -> Iterator[Message]:
        asked = orjson.loads(raw)
        if self._is_v1:
            asked = [asked.get("join_ref"), asked["ref"], *map(asked.get, _V1)]
        join_ref, ref, topic, event, payload = asked
        response = {}
        if event == "phx_join":
            wanted = payload["config"].get("postgres_changes") or []
            given = [{**binding, "id": next(self._ids)} for binding in wanted]
            self._bindings |= {binding["table"]: (topic, binding["id"]) for binding in given}
            response = {"postgres_changes": given}
        yield join_ref, ref, topic, "phx_reply", {"status": "ok", "response": response}
        if event == "phx_join":
            yield join_ref, None, topic, "system", _SUBSCRIBED | {"channel": topic[9:]}

    def _encode(self, message: Message) -> bytes:
        if self._is_v1:
            _, ref, topic, event, payload = message
            return orjson.dumps({"ref": ref, "topic": topic, "event": event, "payload": payload})
        return orjson.dumps(message)


_V1 = ("topic", "event", "payload")
_SUBSCRIBED = {
    "extension": "postgres_changes",
    "status": "ok",
    "message": "Subscribed to PostgreSQL",
}


async def main(count: int) -> None:
    """Serve until killed; say the port on a line of its own."""
    feeder = Feeder(count)
    async with serve(
        feeder.follow,
        "127.0.0.1",
        0,
        process_request=feeder.asked,
        compression=None,
        ping_interval=None,
        write_limit=2**20,
    ) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
