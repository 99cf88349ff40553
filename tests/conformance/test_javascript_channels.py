"""Does the JavaScript client see who is present, and does it survive what it should?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from realtime import AsyncRealtimeClient

from local.realtime.server import Server
from tests.support.databases import FreshDatabase
from tests.support.javascript import (
    BROADCASTS,
    PRESENCE,
    SYSTEM,
    Channel,
    JavaScript,
    changes,
    javascript,
)
from tests.support.policies import admin, allow
from tests.support.python_client import subscribed
from tests.support.sockets import client, served, token

USER = {"sub": "11111111-1111-4111-8111-111111111111"}
JOINED = ["SUBSCRIBED", None]
AS_PYTHON: Any = {"presence": {"key": "py", "enabled": True}}


# Presence


async def until(channel: Channel, event: str) -> Any:
    """The next presence event of that name; a `sync` comes with each of the others."""
    while (heard := await channel.heard("presence"))["event"] != event:
        pass
    return heard


async def test_presence_goes_between_python_and_javascript(
    js: JavaScript, official: AsyncRealtimeClient
) -> None:
    came: asyncio.Queue[Any] = asyncio.Queue()
    went: asyncio.Queue[Any] = asyncio.Queue()
    ours = official.channel("room", {"config": AS_PYTHON})
    ours.on_presence_join(lambda key, current, new: came.put_nowait((key, new)))
    ours.on_presence_leave(lambda key, current, left: went.put_nowait((key, left)))
    await subscribed(ours)
    await ours.track({"at": "desk"})
    assert (await came.get())[0] == "py"

    theirs = await js.joined("room", PRESENCE, presence={"key": "js"})
    assert await theirs.ask("track", state={"at": "door"}) == "ok"
    key, (new,) = await came.get()
    joined = [await until(theirs, "join") for _ in range(2)]
    present = await theirs.ask("present")

    assert (key, new["at"]) == ("js", "door")
    assert [one["key"] for one in joined] == ["py", "js"]
    assert {key: one[0]["at"] for key, one in present.items()} == {"py": "desk", "js": "door"}

    assert await theirs.ask("untrack") == "ok"
    key, (left,) = await went.get()
    await ours.untrack()
    leaves = [(await until(theirs, "leave"))["key"] for _ in range(2)]
    assert (key, left["at"]) == ("js", "door")
    assert leaves == ["js", "py"]


async def test_whoever_hangs_up_is_gone(realtime: Server, js: JavaScript) -> None:
    channel = await js.joined("room", PRESENCE, presence={"key": "js"})
    async with client(realtime) as other:
        await other.join("realtime:room", presence={"key": "other"})
        await other.push("realtime:room", "presence", {"event": "track", "payload": {"n": 1}})
        joined = await until(channel, "join")
    left = await until(channel, "leave")

    assert (joined["key"], joined["newPresences"][0]["n"]) == ("other", 1)
    assert (left["key"], left["currentPresences"]) == ("other", [])


# Joining, tokens, leaving


async def test_a_private_channel_needs_a_policy(
    realtime: Server, database: FreshDatabase, packages: Path
) -> None:
    key = token("authenticated", **USER)
    async with javascript(packages, realtime, key=key) as js:
        refused = await (await js.channel("room", private=True)).heard("state")
        await allow(database, "select", "realtime.topic() = 'mine'")
        await js.joined("mine", private=True)

    assert refused == [
        "CHANNEL_ERROR",
        "Unauthorized: You do not have permissions to read from this Channel topic: room",
    ]


async def test_a_token_that_is_not_accepted_ends_the_channel(js: JavaScript) -> None:
    channel = await js.joined("room", SYSTEM)
    await js.ask("authenticate", token=token(exp=1))
    said, state = await channel.heard("system"), await channel.heard("state")

    assert said["message"].startswith("Token has expired")
    assert state == ["CLOSED", None]


async def test_leaving_is_answered_and_the_channel_can_be_joined_again(js: JavaScript) -> None:
    channel = await js.joined("room")
    left = await channel.ask("leave")
    state = await channel.heard("state")
    await js.joined("room")

    assert (left, state) == ("ok", ["CLOSED", None])


async def test_the_close_of_an_earlier_join_leaves_the_channel_alone(
    realtime: Server, packages: Path
) -> None:
    """It comes behind the answer to the second join, and only its join_ref tells whose it is."""
    async with javascript(packages, realtime, timeout=300) as js:
        realtime.faults.late_joins = 60.0
        channel = await js.channel("room", BROADCASTS, broadcast={"self": True})
        late = await channel.heard("state")
        realtime.faults.late_joins = None
        while (state := await channel.heard("state")) == late:
            pass
        await channel.send("still here", {})
        heard = await channel.heard("broadcast")

    assert (late, state) == (["TIMED_OUT", None], JOINED)
    assert heard["event"] == "still here"


# The connection


async def flowing(channel: Channel) -> None:
    """Changes do; a `Server requested disconnect` may have been said before."""
    while (await channel.heard("system"))["message"] != "Subscribed to PostgreSQL":
        pass


async def test_a_heartbeat_is_answered(realtime: Server, packages: Path) -> None:
    async with javascript(packages, realtime, heartbeatIntervalMs=50) as js:
        await js.joined("room")
        heard = [await js.heard(None, "heartbeat") for _ in range(4)]

    assert heard == ["sent", "ok", "sent", "ok"]


@pytest.mark.parametrize(
    "throw",
    [
        {"close": 1000},
        {"close": 1001},
        {"close": 1006},
        {"close": 1011},
        {"close": 1012},
        {"disconnect": True},
        {"crash_channels": True},
    ],
    ids=str,
)
async def test_after_what_was_lost_everything_is_as_before(
    database: FreshDatabase, realtime: Server, js: JavaScript, throw: dict[str, Any]
) -> None:
    async with admin(database) as connection:
        await connection.execute("create table leads (id int primary key)")
        await connection.execute("alter publication supabase_realtime add table leads")
        channel = await js.joined("room", BROADCASTS, SYSTEM, changes("leads"))
        await flowing(channel)
        for name, value in throw.items():
            setattr(realtime.faults, name, value)
        lost, again = await channel.heard("state"), await channel.heard("state")
        await flowing(channel)
        await connection.execute("insert into leads values (1)")
        change = await channel.heard("postgres_changes")
    async with client(realtime) as other:
        await other.join("realtime:room")
        said = {"type": "broadcast", "event": "moved", "payload": {"x": 1}}
        await other.push("realtime:room", "broadcast", said)

        assert (await channel.heard("broadcast"))["payload"] == {"x": 1}
    assert (lost[0], again) == ("CHANNEL_ERROR", JOINED)
    assert change["new"] == {"id": 1}


async def test_a_join_that_was_refused_is_tried_again(
    database: FreshDatabase, packages: Path
) -> None:
    async with served(database) as server, javascript(packages, server) as js:
        server.faults.refuse_joins = "RealtimeRestarting: Realtime is restarting, please standby"
        channel = await js.channel("room")
        refused = await channel.heard("state")
        server.faults.refuse_joins = None
        state = await channel.heard("state")
        while state[0] == "CHANNEL_ERROR":
            state = await channel.heard("state")

    assert refused == [
        "CHANNEL_ERROR",
        "RealtimeRestarting: Realtime is restarting, please standby",
    ]
    assert state == JOINED
