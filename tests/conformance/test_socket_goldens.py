"""Does a subscriber on the socket get what the real server was seen delivering?"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect

from local.realtime.server import Server
from tests.support.databases import FreshDatabase
from tests.support.goldens import (
    CLAIMS,
    FOLDER,
    ROLE,
    Case,
    Outcome,
    alike,
    cases,
    differences,
    emptied,
    exact,
    execute,
    known_differences,
    run,
)
from tests.support.sockets import address, served, token
from worker.realtime import protocol
from worker.realtime.events import CARRIERS, Decoder

pytestmark = pytest.mark.asyncio(loop_scope="session")

CASES = [*cases("postgres_changes.jsonl"), *cases("filters.jsonl")]
KNOWN = known_differences()
SENT = [exact(line) for line in (FOLDER / "broadcast_changes.jsonl").read_text().splitlines()]
OUTCOMES: dict[str, Outcome] = {}  # alike cases are run together, by the first that is asked for
MARK = "select realtime.send('{}', 'mark', $1, false)"
_numbers = itertools.count(1)


class Subscriber:
    """A socket of version 2, with a channel for each case of a group."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._decoder = Decoder(())
        self._cases: dict[str, tuple[str, list[int]]] = {}  # topic → case, ids of its bindings
        self._changes: dict[str, list[Any]] = {}

    async def listen(self, case: Case) -> str | None:
        """Join; return the text of the `system` message when it is an error."""
        topic = f"realtime:{case.name}"
        response = await self._join(
            topic,
            {"config": {"postgres_changes": [case.subscription]}}
            | {"access_token": token(ROLE, sub=CLAIMS["sub"])},
        )
        ids = [int(binding["id"]) for binding in response["postgres_changes"]]
        self._cases[topic] = case.name, ids
        while (said := await self._next())[2:4] != [topic, "system"]:
            pass
        assert said[4]["extension"] == "postgres_changes"
        return None if said[4]["status"] == "ok" else str(said[4]["message"])

    async def heard(self, session: asyncpg.Connection) -> dict[str, list[Any]]:
        """All changes by case, once everything committed before this call has come."""
        name = f"mark-{next(_numbers)}"
        await self._join(f"realtime:{name}", {"config": {}})
        await session.execute(MARK, name)
        while (await self._next())[2:4] != [f"realtime:{name}", "broadcast"]:
            pass
        return self._changes

    async def _join(self, topic: str, payload: dict[str, Any]) -> Any:
        await self._socket.send(json.dumps(["1", "1", topic, "phx_join", payload]))
        while (said := await self._next())[2:4] != [topic, "phx_reply"]:
            pass
        assert said[4]["status"] == "ok"
        return said[4]["response"]

    async def _next(self) -> list[Any]:
        """The next frame, which the worker's decoder takes as well; a change is kept too."""
        data = await self._socket.recv()
        raw = data.encode() if isinstance(data, str) else data
        frame = protocol.decode(raw)
        if frame.event in CARRIERS:
            self._decoder.read(frame, raw)
        if isinstance(data, bytes):
            return [None, None, frame.topic, frame.event, frame.payload]
        message: list[Any] = exact(data)
        if frame.event == "postgres_changes":
            self._keep(frame.topic, message[4])
        return message

    def _keep(self, topic: str, payload: dict[str, Any]) -> None:
        case, ids = self._cases[topic]
        assert [int(id) for id in payload["ids"]] == ids
        if payload["data"]["schema"] != "realtime":  # `for all tables` publishes the marks too
            self._changes.setdefault(case, []).append(payload["data"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def golden_server(golden_database: FreshDatabase) -> AsyncIterator[Server]:
    async with served(golden_database) as server:
        yield server


async def outcome(case: Case, database: FreshDatabase, server: Server) -> Outcome:
    if case.name not in OUTCOMES:
        session = await asyncpg.connect(database.admin_url)
        try:
            async with connect(address(server), proxy=None, max_size=None) as socket:
                subscriber = Subscriber(socket)
                ran = await run(
                    alike(case, CASES),
                    session,
                    subscriber.listen,
                    lambda: subscriber.heard(session),
                )
        finally:
            await session.close()
            await emptied(database)
        OUTCOMES.update(ran)
    return OUTCOMES[case.name]


@pytest.mark.parametrize("case", [one for one in CASES if one.name not in KNOWN], ids=str)
async def test_a_subscriber_reads_what_the_real_server_sent(
    case: Case, golden_database: FreshDatabase, golden_server: Server
) -> None:
    assert not differences(case, await outcome(case, golden_database, golden_server))


# Broadcast from the database


async def broadcasts(socket: ClientConnection, until: str) -> list[Any]:
    """Topic, event and payload of each, up to the topic `until`; its own id reads `<id>`."""
    heard: list[Any] = []
    while True:
        data = await socket.recv()
        if isinstance(data, str):
            continue
        frame = protocol.decode(data)
        assert Decoder(()).read(frame, data)
        if frame.topic == f"realtime:{until}":
            return heard
        payload = exact(data[5 + sum(data[1:4]) :])  # as it was sent, numbers and all
        if isinstance(payload, dict) and payload.get("id") == frame.payload["meta"]["id"]:
            payload["id"] = "<id>"
        heard.append([frame.topic.removeprefix("realtime:"), frame.payload["event"], payload])


def deliverable(message: dict[str, Any]) -> bool:
    """The real server stores a message that lacks something, and does not send it."""
    return None not in (message["event"], message["private"], message["payload"])


@pytest.mark.parametrize("case", SENT, ids=[case["name"] for case in SENT])
async def test_a_subscriber_hears_what_the_database_sent(
    case: dict[str, Any], golden_database: FreshDatabase, golden_server: Server
) -> None:
    stored = [one for one in case["expected"] if one["topic"]]  # nobody can join the empty one
    wanted = [one for one in stored if deliverable(one)]
    mark = f"mark-{next(_numbers)}"
    session = await asyncpg.connect(golden_database.admin_url)
    try:
        async with connect(address(golden_server), proxy=None, max_size=None) as socket:
            topics = {(one["topic"], bool(one["private"])) for one in stored}
            for topic, private in topics | {(mark, False)}:
                join = {"config": {"private": private}}
                await socket.send(json.dumps(["1", "1", f"realtime:{topic}", "phx_join", join]))
                assert exact(await socket.recv())[4]["status"] == "ok"
            await execute(session, case["setup"])
            with suppress(asyncpg.PostgresError):  # what fails is another test's concern
                await execute(session, case["dml"])
            await session.execute("rollback")
            await session.execute(MARK, mark)
            heard = await broadcasts(socket, until=mark)
    finally:
        await session.close()
        await emptied(golden_database)

    sent = [[one["topic"], one["event"], one["payload"]] for one in wanted]
    assert written(heard) == written(sent)


def written(value: Any) -> str:
    """Numbers by their digits: 12.50 is not 12.5."""
    return json.dumps(value, default=str, sort_keys=True)
