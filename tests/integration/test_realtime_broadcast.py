"""Does a broadcast reach those it should, in the form it should have?"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from local.realtime.server import Server
from local.realtime.tenant import Connected
from tests.support.databases import FreshDatabase
from tests.support.policies import admin, allow
from tests.support.sockets import Client, Heard, address, client, served, token

ROOM = "realtime:room"
SAID = {"type": "broadcast", "event": "cursor", "payload": {"x": 1}}
USER = {"sub": "11111111-1111-4111-8111-111111111111"}


def kind_3(event: str, payload: bytes, *, is_json: bool, topic: str = ROOM) -> bytes:
    texts = [b"1", b"9", topic.encode(), event.encode(), b""]
    return bytes([3, *map(len, texts), is_json]) + b"".join(texts) + payload


def kind_4(event: str, payload: bytes, *, is_json: bool, meta: bytes = b"") -> bytes:
    texts = [ROOM.encode(), event.encode(), meta]
    return bytes([4, *map(len, texts), is_json]) + b"".join(texts) + payload


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
@pytest.mark.parametrize("to", ["1.0.0", "2.0.0"])
async def test_a_text_broadcast_is_relayed_as_text(realtime: Server, vsn: str, to: str) -> None:
    async with client(realtime, vsn) as one, client(realtime, to) as other:
        await one.join(ROOM)
        await other.join(ROOM)
        await one.push(ROOM, "broadcast", SAID)

        assert await other.hear() == Heard(None, None, ROOM, "broadcast", SAID)
        assert (await one.beat()).ref == "beat"


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"event": "e"},
        {"payload": [1, None]},
        {"event": None, "payload": "text", "more": 1},
        {"payload": {"big": 123456789012345678901234567890}},
    ],
)
async def test_a_payload_of_any_shape_is_relayed_verbatim(realtime: Server, payload: Any) -> None:
    async with client(realtime) as one, client(realtime) as other:
        await one.join(ROOM)
        await other.join(ROOM)
        await one.push(ROOM, "broadcast", payload)

        assert (await other.hear()).payload == payload


async def test_the_sender_hears_itself_only_where_it_asked_to(realtime: Server) -> None:
    async with client(realtime) as one:
        await one.join(ROOM, broadcast={"self": True})
        await one.push(ROOM, "broadcast", SAID)

        assert await one.hear() == Heard(None, None, ROOM, "broadcast", SAID)


async def test_an_acknowledgement_is_given_where_it_is_asked_for(realtime: Server) -> None:
    async with client(realtime) as one:
        await one.join(ROOM, broadcast={"ack": True})
        await one.push(ROOM, "broadcast", SAID, ref="5", join_ref="1")

        ok = {"status": "ok", "response": {}}
        assert await one.hear() == Heard("1", "5", ROOM, "phx_reply", ok)


async def test_json_bytes_reach_version_2_untouched_and_version_1_as_text(
    realtime: Server,
) -> None:
    async with (
        client(realtime) as one,
        client(realtime) as second,
        client(realtime, "1.0.0") as first,
    ):
        for each in (one, second, first):
            await each.join(ROOM)
        await one.socket.send(kind_3("move", b'{ "x": 1.50 }', is_json=True))

        assert await second.hear_bytes() == kind_4("move", b'{ "x": 1.50 }', is_json=True)
        assert (await first.hear()).payload == {
            "type": "broadcast",
            "event": "move",
            "payload": {"x": 1.5},
        }


async def test_bytes_reach_version_2_and_never_version_1(realtime: Server) -> None:
    async with (
        client(realtime) as one,
        client(realtime) as second,
        client(realtime, "1.0.0") as first,
    ):
        await one.join(ROOM, broadcast={"ack": True})
        await second.join(ROOM)
        await first.join(ROOM)
        await one.socket.send(kind_3("move", b"\x00\xff", is_json=False))

        assert await second.hear_bytes() == kind_4("move", b"\x00\xff", is_json=False)
        assert (await one.hear()).payload == {"status": "ok", "response": {}}
        assert (await first.beat()).ref == "beat"


async def test_private_and_public_topics_of_one_name_are_two(realtime: Server) -> None:
    async with client(realtime) as one, client(realtime) as public, client(realtime) as private:
        await one.join(ROOM, private=True)
        await public.join(ROOM)
        await private.join(ROOM, private=True)
        await one.push(ROOM, "broadcast", SAID)

        assert (await private.hear()).payload == SAID
        assert (await public.beat()).ref == "beat"


async def test_too_big_a_payload_is_dropped_and_said_only_with_ack(
    database: FreshDatabase,
) -> None:
    async with (
        served(database, max_payload=100) as server,
        client(server) as one,
        client(server) as other,
    ):
        await one.join(ROOM, broadcast={"ack": True})
        await other.join(ROOM)
        big = {"event": "e", "payload": {"x": "y" * 100}}
        await one.push(ROOM, "broadcast", big)
        answer = await one.hear()
        await other.push(ROOM, "broadcast", big)

        assert answer.payload == {"status": "error", "response": "payload_size_exceeded"}
        assert (await other.beat()).ref == "beat"
        assert (await one.beat()).ref == "beat"


async def test_without_the_right_to_write_there_is_silence_even_with_ack(
    realtime: Server, database: FreshDatabase
) -> None:
    await allow(database, "select")
    user = token("authenticated", **USER)
    async with client(realtime) as one, client(realtime) as other:
        await one.join(ROOM, token=user, private=True, broadcast={"ack": True})
        await other.join(ROOM, token=user, private=True)
        await one.push(ROOM, "broadcast", SAID)

        assert (await one.beat()).ref == "beat"
        assert (await other.beat()).ref == "beat"


async def test_with_the_right_to_write_a_private_broadcast_is_relayed(
    realtime: Server, database: FreshDatabase
) -> None:
    await allow(database, "select")
    await allow(database, "insert", "realtime.topic() = 'room' and extension = 'broadcast'")
    user = token("authenticated", **USER)
    async with client(realtime) as one, client(realtime) as other:
        await one.join(ROOM, token=user, private=True, broadcast={"ack": True})
        await other.join(ROOM, token=user, private=True)
        await one.push(ROOM, "broadcast", SAID)

        assert (await one.hear()).payload == {"status": "ok", "response": {}}
        assert (await other.hear()).payload == SAID


async def test_who_may_read_presence_only_hears_no_broadcast(
    realtime: Server, database: FreshDatabase
) -> None:
    await allow(database, "select", "extension = 'presence'")
    async with client(realtime) as one, client(realtime) as other:
        await one.join(ROOM, private=True)
        answer = await other.join(ROOM, token=token("authenticated"), private=True)
        await one.push(ROOM, "broadcast", SAID)

        assert answer.payload["status"] == "ok"
        assert (await other.beat()).ref == "beat"


async def test_a_message_from_the_database_arrives_with_its_id(
    realtime: Server, database: FreshDatabase
) -> None:
    async with client(realtime) as second, client(realtime, "1.0.0") as first:
        await second.join(ROOM, private=True, broadcast={"replication_ready": True})
        await second.event("system")
        await first.join(ROOM, private=True)
        async with admin(database) as connection:
            await connection.execute("""select realtime.send('{"x": 12.50}', 'moved', 'room')""")
            row = await connection.fetchrow("select id, payload::text from realtime.messages")
        assert row is not None
        meta = json.dumps({"id": str(row["id"])}, separators=(",", ":")).encode()
        text = (await first.hear()).payload

        expected = kind_4("moved", row["payload"].encode(), is_json=True, meta=meta)
        assert await second.hear_bytes() == expected
        assert text == {
            "type": "broadcast",
            "event": "moved",
            "payload": {"x": 12.5, "id": str(row["id"])},
            "meta": {"id": str(row["id"])},
        }


async def test_a_message_that_is_rolled_back_does_not_arrive(
    realtime: Server, database: FreshDatabase
) -> None:
    async with client(realtime, "1.0.0") as one:
        await one.join(ROOM, private=True, broadcast={"replication_ready": True})
        await one.event("system")
        async with admin(database) as connection:
            await connection.execute("begin; select realtime.send('{}', 'a', 'room'); rollback")
            await connection.execute("select realtime.send('{}', 'b', 'room', false)")
            await connection.execute("select realtime.send('{}', 'c', 'room')")

        assert (await one.hear()).payload["event"] == "c"


@pytest.mark.parametrize(
    "lacking",
    ["null, 'e', 'room'", "'{}', null, 'room'", "'{}', 'e', 'room', null", "'{}', 'e', null"],
    ids=["payload", "event", "private", "topic"],
)
async def test_a_message_from_the_database_that_lacks_something_does_not_arrive(
    realtime: Server, database: FreshDatabase, lacking: str
) -> None:
    async with client(realtime, "1.0.0") as one, client(realtime, "1.0.0") as other:
        await one.join(ROOM, private=True, broadcast={"replication_ready": True})
        await one.event("system")
        await other.join(ROOM)
        async with admin(database) as connection:
            await connection.execute(f"select realtime.send({lacking})")
            await connection.execute("select realtime.send('{}', 'whole', 'room', true)")
            await connection.execute("select realtime.send('{}', 'whole', 'room', false)")

        assert (await one.hear()).payload["event"] == "whole"
        assert (await other.hear()).payload["event"] == "whole"


async def test_bytes_from_the_database_arrive_as_bytes(
    realtime: Server, database: FreshDatabase
) -> None:
    async with client(realtime) as one:
        await one.join(ROOM, private=True, broadcast={"replication_ready": True})
        await one.event("system")
        async with admin(database) as connection:
            await connection.execute("select realtime.send_binary('\\x00ff', 'raw', 'room')")

        heard = await one.hear_bytes()
        assert heard[0] == 4
        assert heard.endswith(b"\x00\xff")


async def test_the_newest_messages_are_replayed_oldest_first(
    realtime: Server, database: FreshDatabase
) -> None:
    ids = await store(database, 30)
    async with client(realtime) as one:
        await one.join(ROOM, private=True, broadcast={"replay": {"since": since(60)}})
        heard = [await one.hear() for _ in range(25)]

        assert [h.payload["meta"] for h in heard] == [
            {"replayed": True, "id": identity} for identity in ids[5:]
        ]
        assert {(h.join_ref, h.ref, h.event) for h in heard} == {("1", None, "broadcast")}
        assert (await one.beat()).ref == "beat"


@pytest.mark.parametrize(("limit", "count"), [(3, 3), (0, 1), (-1, 1), (99, 25)])
async def test_the_limit_is_held_between_1_and_25(
    realtime: Server, database: FreshDatabase, limit: int, count: int
) -> None:
    await store(database, 30)
    async with client(realtime) as one:
        replay = {"since": since(60), "limit": limit}
        await one.join(ROOM, private=True, broadcast={"replay": replay})
        for _ in range(count):
            await one.hear()

        assert (await one.beat()).ref == "beat"


async def test_messages_before_since_are_not_replayed(
    realtime: Server, database: FreshDatabase
) -> None:
    await store(database, 3)
    async with client(realtime) as one:
        await one.join(ROOM, private=True, broadcast={"replay": {"since": since(-5)}})

        assert (await one.beat()).ref == "beat"


async def test_replayed_bytes_are_kind_4_and_nothing_in_version_1(
    realtime: Server, database: FreshDatabase
) -> None:
    async with admin(database) as connection:
        await connection.execute("select realtime.send_binary('\\x00ff', 'raw', 'room')")
    async with client(realtime) as second, client(realtime, "1.0.0") as first:
        replay = {"replay": {"since": since(60)}}
        await second.join(ROOM, private=True, broadcast=replay)
        await first.join(ROOM, private=True, broadcast=replay)
        heard = await second.hear_bytes()

        assert heard[0] == 4
        assert b'"replayed":true' in heard
        assert (await first.beat()).ref == "beat"


@pytest.mark.parametrize(
    ("private", "replay", "why"),
    [
        (False, {"since": 1}, "Replay is not allowed for public channels"),
        (True, {}, "Replay params are not valid"),
        (True, {"since": "1"}, "Replay params are not valid"),
        (True, {"since": 1, "limit": "x"}, "Replay params are not valid"),
    ],
)
async def test_a_replay_that_cannot_be_had_refuses_the_join(
    realtime: Server, private: bool, replay: object, why: str
) -> None:
    async with client(realtime) as one:
        answer = await one.join(ROOM, private=private, broadcast={"replay": replay})

    assert answer.payload["response"] == {"reason": f"UnableToReplayMessages: {why}"}


async def test_a_topic_too_long_for_a_length_byte_is_not_delivered_to_version_2(
    realtime: Server,
) -> None:
    topic = "realtime:" + "x" * 250
    async with client(realtime) as second, client(realtime, "1.0.0") as first:
        await second.join(topic, broadcast={"self": True})
        await first.join(topic, broadcast={"self": True})
        await tell_over_http(realtime, topic.removeprefix("realtime:"))

        assert (await first.hear()).payload["payload"] == {"x": 1}
        assert (await second.beat()).ref == "beat"


async def test_a_client_that_does_not_read_is_cut_off_and_hinders_nobody(
    database: FreshDatabase,
) -> None:
    async with (
        served(database, send_timeout=0.2) as server,
        client(server) as one,
        client(server) as reads,
        deaf(server) as slow,
    ):
        await one.join(ROOM)
        await reads.join(ROOM)
        big = {"event": "e", "payload": {"x": "y" * 1_000_000}}
        for _ in range(20):
            await one.push(ROOM, "broadcast", big)
            await reads.hear()

        await slow.closed.wait()
        assert (await one.beat()).ref == "beat"


@asynccontextmanager
async def deaf(server: Server) -> AsyncIterator[Connected]:
    """Join the room and read nothing more; yield the server's side of it."""
    before = set(server.connections)
    # A queue of one frame that nobody takes from: then the kernel's buffers fill up.
    socket = await connect(address(server), proxy=None, max_queue=1)
    try:
        await Client(socket, "2.0.0").join(ROOM)
        (connection,) = server.connections - before
        yield connection
    finally:
        socket.transport.abort()
        await socket.wait_closed()


async def store(database: FreshDatabase, count: int) -> list[str]:
    """Send messages, a millisecond apart; return their ids."""
    async with admin(database) as connection:
        rows = await connection.fetch(
            "insert into realtime.messages (topic, extension, event, payload, private, inserted_at)"
            " select 'room', 'broadcast', 'e', '{}', true,"
            " now() at time zone 'utc' - make_interval(secs => ($1 - n) * 0.001)"
            " from generate_series(1, $1) n order by n returning id",
            count,
        )
    return [str(row["id"]) for row in rows]


def since(seconds: float) -> int:
    """Unix milliseconds, so many seconds ago."""
    return int((datetime.now(UTC) - timedelta(seconds=seconds)).timestamp() * 1000)


async def tell_over_http(server: Server, topic: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(
            f"{server.url}/realtime/v1/api/broadcast/{topic}/events/moved",
            headers={"apikey": token()},
            json={"x": 1},
        )
    assert answer.status_code == 202
