"""Do broadcasts reach the JavaScript client and come from it, whoever is at the other end?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient

from local.realtime.server import Server
from tests.support.databases import FreshDatabase
from tests.support.javascript import (
    BROADCASTS,
    SYSTEM,
    Channel,
    JavaScript,
    JavaScriptError,
    javascript,
    raw,
)
from tests.support.policies import admin, allow
from tests.support.python_client import PRIVATE, subscribed
from tests.support.sockets import client, served, token

USER = {"sub": "11111111-1111-4111-8111-111111111111"}


async def listening(
    official: AsyncRealtimeClient, name: str = "room"
) -> tuple[AsyncRealtimeChannel, asyncio.Queue[Any]]:
    """A joined channel of the Python client and what it hears."""
    heard: asyncio.Queue[Any] = asyncio.Queue()
    channel = official.channel(name)
    channel.on_broadcast("*", heard.put_nowait)
    await subscribed(channel)
    return channel, heard


async def test_json_and_bytes_go_both_ways(realtime: Server, js: JavaScript) -> None:
    channel = await js.joined("room", BROADCASTS)
    async with client(realtime) as other:
        await other.join("realtime:room")
        await channel.send("moved", {"à": [1, None, 2**40]})
        await channel.send("drawn", b"\x00\xff")
        said = await other.hear_bytes(), await other.hear_bytes()
        message = {"type": "broadcast", "event": "answered", "payload": {"n": 1}}
        await other.push("realtime:room", "broadcast", message)
        await other.socket.send(b"\x03\x00\x00\x0d\x04\x00\x00realtime:roomdata\x01\x02")
        text, binary = await channel.heard("broadcast"), await channel.heard("broadcast")

    assert said[0].endswith('moved{"à":[1,null,1099511627776]}'.encode())
    assert said[1].endswith(b"drawn\x00\xff")
    assert (text["event"], text["payload"]) == ("answered", {"n": 1})
    assert (binary["event"], raw(binary["payload"])) == ("data", b"\x01\x02")


async def test_the_python_and_the_javascript_client_talk(
    js: JavaScript, official: AsyncRealtimeClient
) -> None:
    ours, heard = await listening(official)
    theirs = await js.joined("room", BROADCASTS)
    await theirs.send("drawn", b"\x00")  # there are no bytes in version 1: nobody hears of them
    await theirs.send("moved", {"from": "JavaScript", "x": 0.5})
    await ours.send_broadcast("moved", {"from": "Python ☃"})

    assert (await heard.get())["payload"] == {"from": "JavaScript", "x": 0.5}
    assert (await theirs.heard("broadcast"))["payload"] == {"from": "Python ☃"}


async def test_two_javascript_clients_of_both_versions_talk(
    realtime: Server, packages: Path, js: JavaScript
) -> None:
    async with javascript(packages, realtime, vsn="1.0.0") as old:
        one, two = await old.joined("room", BROADCASTS), await js.joined("room", BROADCASTS)
        await one.send("from one", {"n": 1})
        await two.send("from two", b"\x00")
        await two.send("from two", {"n": 2})

        assert (await two.heard("broadcast"))["payload"] == {"n": 1}
        assert (await one.heard("broadcast"))["payload"] == {"n": 2}


async def test_a_sender_hears_itself_and_its_acknowledgement_where_it_asked(js: JavaScript) -> None:
    channel = await js.joined("room", BROADCASTS, broadcast={"self": True, "ack": True})
    json, binary = await channel.send("a", {"n": 1}), await channel.send("b", b"\xff")
    heard = [await channel.heard("broadcast") for _ in range(2)]

    assert (json, binary) == ("ok", "ok")
    assert [one["event"] for one in heard] == ["a", "b"]
    assert raw(heard[1]["payload"]) == b"\xff"


async def test_too_much_is_an_error_for_who_asked_for_an_acknowledgement(
    database: FreshDatabase, packages: Path
) -> None:
    async with served(database, max_payload=100) as server, javascript(packages, server) as js:
        channel = await js.joined("room", broadcast={"ack": True})

        assert await channel.send("moved", {"long": "x" * 100}) == "error"
        assert await channel.send("moved", {"long": "x" * 50}) == "ok"


async def test_a_broadcast_over_http_reaches_every_version(
    realtime: Server, js: JavaScript, official: AsyncRealtimeClient
) -> None:
    _, old = await listening(official, "room one")
    channel = await js.joined("room one", BROADCASTS)
    sent = [await channel.post("a/é", b"\x00\xff")]
    sent += [await channel.post("a/é", {"x": 1})]
    heard = [await channel.heard("broadcast") for _ in range(2)]

    assert sent == [{"success": True}, {"success": True}]
    assert raw(heard[0]["payload"]) == b"\x00\xff"
    assert (heard[1]["event"], heard[1]["payload"]) == ("a/é", {"x": 1})
    assert (await old.get())["payload"] == {"x": 1}


async def test_python_broadcasts_over_http_and_javascript_hears(
    js: JavaScript, official: AsyncRealtimeClient
) -> None:
    channel = await js.joined("room", BROADCASTS, private=True)
    ours = official.channel("room", {"config": PRIVATE})
    await ours.http_send("moved", {"x": 1})
    await ours.http_send("drawn", b"\x00\xff")
    json, binary = await channel.heard("broadcast"), await channel.heard("broadcast")

    assert (json["event"], json["payload"]) == ("moved", {"x": 1})
    assert (binary["event"], raw(binary["payload"])) == ("drawn", b"\x00\xff")


async def test_a_broadcast_before_the_join_goes_through_the_batch_endpoint(
    realtime: Server, js: JavaScript
) -> None:
    async with client(realtime) as other:
        await other.join("realtime:room", private=True)
        await js.ask("prepare", channel="room", config={"private": True}, on=[])
        said = await Channel(js, "room").send("early", {"n": 1})
        heard = await other.hear()

    assert said == "ok"
    assert heard.payload == {"type": "broadcast", "event": "early", "payload": {"n": 1}}


async def test_messages_from_the_database_are_replayed_and_then_live(
    database: FreshDatabase, js: JavaScript
) -> None:
    async with admin(database) as connection:
        for sent in ("realtime.send('{\"n\": 1}'", "realtime.send_binary('\\x00ff'"):
            await connection.execute(f"select {sent}, 'moved', 'room')")
        replay = {"replay": {"since": 1, "limit": 5}, "replication_ready": True}
        channel = await js.joined("room", BROADCASTS, SYSTEM, private=True, broadcast=replay)
        ready = await channel.heard("system")
        await connection.execute("select realtime.send('{\"n\": 2}', 'moved', 'room')")
        old, binary, new = [await channel.heard("broadcast") for _ in range(3)]

    assert ready["message"] == "Replication connection established"
    assert (old["payload"]["n"], old["meta"]["replayed"]) == (1, True)
    assert (raw(binary["payload"]), binary["meta"]["replayed"]) == (b"\x00\xff", True)
    assert (new["payload"]["n"], new["meta"].keys()) == (2, {"id"})


async def test_a_row_told_by_the_database_is_told_with_both_records(
    database: FreshDatabase, js: JavaScript
) -> None:
    channel = await js.joined(
        "room", BROADCASTS, SYSTEM, private=True, broadcast={"replication_ready": True}
    )
    await channel.heard("system")
    async with admin(database) as connection:
        await connection.execute("create table things (id int primary key, name text)")
        await connection.execute(
            "create function tell() returns trigger language plpgsql as $$ begin perform"
            " realtime.broadcast_changes('room', tg_op, tg_op, tg_table_name, tg_table_schema,"
            " new, old); return null; end $$"
        )
        await connection.execute(
            "create trigger tell after insert or update on things"
            " for each row execute function tell()"
        )
        await connection.execute("insert into things values (1, 'a')")
        await connection.execute("update things set name = 'b'")
    inserted, updated = [(await channel.heard("broadcast"))["payload"] for _ in range(2)]

    assert (inserted["operation"], inserted["record"]) == ("INSERT", {"id": 1, "name": "a"})
    assert (updated["record"]["name"], updated["old_record"]["name"]) == ("b", "a")


async def test_without_the_right_to_write_there_is_no_acknowledgement(
    realtime: Server, database: FreshDatabase, packages: Path
) -> None:
    await allow(database, "select")
    key = token("authenticated", **USER)
    async with javascript(packages, realtime, key=key) as js:
        channel = await js.joined("room", private=True, broadcast={"ack": True})

        assert await channel.send("moved", {"x": 1}, timeout=50) == "timed out"
        with pytest.raises(JavaScriptError, match="Unauthorized"):
            await channel.post("moved", {"x": 1})
        await allow(database, "insert")
        again = await js.joined("again", private=True, broadcast={"ack": True})
        assert await again.send("moved", {"x": 1}) == "ok"
