"""What becomes of a channel that meets a limit?"""

from __future__ import annotations

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from local.realtime.limits import Limits
from tests.support.databases import FreshDatabase
from tests.support.policies import admin
from tests.support.sockets import address, client, served, token

ROOM = "realtime:room"
NEVER = 1e6  # seconds: the tests end the ticks themselves
TRACK = {"event": "track", "payload": {}}


async def test_too_many_messages_end_the_channels_that_hear_the_next(
    database: FreshDatabase,
) -> None:
    limits = Limits(events=2 / NEVER, tick=NEVER)
    async with (
        served(database, limits=limits) as server,
        client(server) as one,
        client(server) as other,
    ):
        await one.join(ROOM)
        await other.join(ROOM)
        await one.push(ROOM, "broadcast", {"event": "a"})
        first = await other.hear()
        server.rates.tick()
        await one.push(ROOM, "broadcast", {"event": "b"})
        heard = [await other.hear() for _ in range(3)]

        assert first.payload == {"event": "a"}
        assert heard[0].payload == {"event": "b"}
        assert heard[1].payload["message"] == "Too many messages per second"
        assert heard[2].event == "phx_close"


async def test_too_many_joins_are_refused_and_the_socket_closed_with_1001(
    database: FreshDatabase,
) -> None:
    limits = Limits(joins=1 / NEVER, tick=NEVER)
    async with served(database, limits=limits) as server, client(server) as one:
        await one.join(ROOM)
        server.rates.tick()
        answer = await one.join("realtime:other")
        await one.socket.wait_closed()
        with pytest.raises(InvalidStatus) as refused:
            async with connect(address(server), proxy=None):
                raise AssertionError("it was accepted")

        reason = "ClientJoinRateLimitReached: Too many joins per second"
        assert answer.payload["response"] == {"reason": reason}
        assert one.socket.close_code == 1001
        assert refused.value.response.status_code == 429


async def test_changes_over_the_limit_are_skipped_without_a_word(database: FreshDatabase) -> None:
    limits = Limits(changes=1 / NEVER, tick=NEVER)
    async with (
        served(database, limits=limits) as server,
        client(server) as one,
        admin(database) as table,
    ):
        await table.execute("create table leads (id int primary key)")
        await table.execute("alter publication supabase_realtime add table leads")
        await one.join(
            ROOM,
            private=True,
            postgres_changes=[{"event": "*", "schema": "public", "table": "leads"}],
        )
        await one.event("system")
        await table.execute("insert into leads values (1)")
        first = await one.hear()
        server.rates.tick()
        await table.execute("insert into leads values (2)")
        await table.execute("select realtime.send('{}', 'after', 'room')")
        await one.hear_bytes()
        for _ in range(12):
            server.rates.tick()
        await table.execute("insert into leads values (3)")
        third = await one.hear()

        assert [h.payload["data"]["record"]["id"] for h in (first, third)] == [1, 3]


async def test_too_many_presence_messages_end_the_channel(database: FreshDatabase) -> None:
    limits = Limits(presence=1 / NEVER, tick=NEVER)
    async with served(database, limits=limits) as server, client(server) as one:
        await one.join(ROOM)
        await one.push(ROOM, "presence", TRACK)
        await one.event("presence_state")
        server.rates.tick()
        await one.push(ROOM, "presence", TRACK)
        fatal, close = await one.hear(), await one.hear()

        assert fatal.payload["message"] == "Too many presence messages per second"
        assert close.event == "phx_close"


async def test_too_many_presence_calls_of_one_channel_end_it(database: FreshDatabase) -> None:
    limits = Limits(presence_calls=2)
    async with served(database, limits=limits) as server, client(server) as one:
        await one.join(ROOM)
        for _ in range(3):
            await one.push(ROOM, "presence", {"event": "untrack"})
        heard = [await one.hear() for _ in range(4)]

        assert [h.event for h in heard] == ["phx_reply", "phx_reply", "system", "phx_close"]
        assert heard[2].payload["message"] == "Client presence rate limit exceeded"


async def test_too_many_broadcasts_over_http_are_429(database: FreshDatabase) -> None:
    limits = Limits(events=1 / NEVER, tick=NEVER)
    async with (
        served(database, limits=limits) as server,
        httpx.AsyncClient(
            base_url=server.url, headers={"apikey": token()}, trust_env=False
        ) as http,
    ):
        accepted = await http.post("/api/broadcast/room/events/e", json={})
        server.rates.tick()
        single = await http.post("/api/broadcast/room/events/e", json={})
        batch = await http.post("/api/broadcast", json={"messages": []})

    assert [a.status_code for a in (accepted, single, batch)] == [202, 429, 429]
    assert single.json() == {"message": "You have exceeded your rate limit"}


async def test_a_batch_beyond_what_is_left_is_429_and_nobody_hears_of_it(
    database: FreshDatabase,
) -> None:
    limits = Limits(events=2, tick=NEVER)
    async with (
        served(database, limits=limits) as server,
        client(server) as one,
        httpx.AsyncClient(
            base_url=server.url, headers={"apikey": token()}, trust_env=False
        ) as http,
    ):
        await one.join(ROOM)
        message = {"topic": "room", "event": "e", "payload": {}}
        batches = [{"messages": [message] * number} for number in (3, 2)]
        refused, taken = [await http.post("/api/broadcast", json=batch) for batch in batches]
        heard = [await one.hear() for _ in range(2)]
        beat = await one.beat()

    assert (refused.status_code, taken.status_code) == (429, 202)
    reason = "Too many messages to broadcast, please reduce the batch size"
    assert refused.json() == {"message": reason}
    assert [h.event for h in heard] == ["broadcast"] * 2 and beat.event == "phx_reply"


async def test_messages_from_the_database_over_the_limit_are_dropped_without_a_word(
    database: FreshDatabase,
) -> None:
    limits = Limits(events=1 / NEVER, tick=NEVER)
    wanted = [{"event": "*", "schema": "public", "table": "leads"}]
    async with (
        served(database, limits=limits) as server,
        client(server) as one,
        admin(database) as table,
    ):
        await table.execute("create table leads (id int primary key)")
        await table.execute("alter publication supabase_realtime add table leads")
        await one.join(ROOM, private=True, postgres_changes=wanted)
        await one.event("system")
        await table.execute("select realtime.send('{}', 'first', 'room')")
        first = await one.hear_bytes()
        server.rates.tick()
        await table.execute("select realtime.send('{}', 'second', 'room')")
        await table.execute("insert into leads values (1)")
        change = await one.hear()  # it was committed later, and nobody was shut down
        for _ in range(12):
            server.rates.tick()
        await table.execute("select realtime.send('{}', 'third', 'room')")
        third = await one.hear_bytes()

    assert b"first" in first and change.event == "postgres_changes" and b"third" in third
