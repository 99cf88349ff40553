"""Does everybody on a topic learn who is there?"""

from __future__ import annotations

import pytest

from local.realtime.server import Server
from tests.support.databases import FreshDatabase
from tests.support.policies import allow
from tests.support.sockets import client, served, token

ROOM = "realtime:room"


def track(payload: object) -> dict[str, object]:
    return {"type": "presence", "event": "track", "payload": payload}


UNTRACK = {"type": "presence", "event": "untrack"}


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_a_joiner_who_asked_is_told_who_is_there(realtime: Server, vsn: str) -> None:
    async with client(realtime, vsn) as one:
        await one.join(ROOM, presence={"enabled": True})
        state = await one.hear()
        await one.join("realtime:other")

    assert (state.event, state.payload, state.ref) == ("presence_state", {}, None)
    assert state.join_ref == ("1" if vsn == "2.0.0" else None)


async def test_tracking_is_answered_and_told_to_everybody(realtime: Server) -> None:
    async with client(realtime) as one, client(realtime) as other:
        await one.join(ROOM, presence={"key": "me", "enabled": True})
        await one.hear()
        await other.join(ROOM)
        await one.push(ROOM, "presence", track({"typing": True}), ref="5")
        reply, own, seen = await one.hear(), await one.hear(), await other.hear()

    reference = own.payload["joins"]["me"]["metas"][0]["phx_ref"]
    assert reply.payload == {"status": "ok", "response": {}}
    assert (own.event, own.join_ref, own.ref) == ("presence_diff", None, None)
    assert own.payload == seen.payload
    assert own.payload == {
        "joins": {"me": {"metas": [{"typing": True, "phx_ref": reference}]}},
        "leaves": {},
    }


async def test_an_update_leaves_the_old_and_names_it(realtime: Server) -> None:
    async with client(realtime) as one:
        await one.join(ROOM, presence={"key": "me", "enabled": True})
        await one.push(ROOM, "presence", track({"n": 1}))
        first = (await one.event("presence_diff")).payload["joins"]["me"]["metas"][0]
        await one.push(ROOM, "presence", track({"n": 2}))
        diff = (await one.event("presence_diff")).payload
        await one.push(ROOM, "presence", track({"n": 2}))
        await one.event("phx_reply")

        second = diff["joins"]["me"]["metas"][0]
        assert second["phx_ref_prev"] == first["phx_ref"] != second["phx_ref"]
        assert diff["leaves"] == {"me": {"metas": [first]}}
        assert (await one.beat()).ref == "beat", "saying the same again tells nobody anything"


async def test_several_may_share_a_key(realtime: Server) -> None:
    async with client(realtime) as one, client(realtime) as two, client(realtime) as three:
        for each, n in ((one, 1), (two, 2)):
            await each.join(ROOM, presence={"key": "team", "enabled": True})
            await each.push(ROOM, "presence", track({"n": n}))
            await each.event("presence_diff")
        await three.join(ROOM, presence={"enabled": True})
        state = (await three.hear()).payload

    assert [meta["n"] for meta in state["team"]["metas"]] == [1, 2]


@pytest.mark.parametrize("how", ["untrack", "leave", "vanish"])
async def test_whoever_goes_is_gone_for_the_others(realtime: Server, how: str) -> None:
    async with client(realtime) as one:
        await one.join(ROOM, presence={"enabled": True})
        async with client(realtime) as two:
            await two.join(ROOM, presence={"key": "two", "enabled": True})
            await two.push(ROOM, "presence", track({}))
            came = (await one.event("presence_diff")).payload
            if how == "untrack":
                await two.push(ROOM, "presence", UNTRACK)
            elif how == "leave":
                await two.push(ROOM, "phx_leave", {})
            else:
                two.socket.transport.abort()
            went = (await one.event("presence_diff")).payload

    assert went == {"joins": {}, "leaves": came["joins"]}


async def test_tracking_without_having_asked_brings_the_state(realtime: Server) -> None:
    async with client(realtime) as one:
        await one.join(ROOM)
        await one.push(ROOM, "presence", track({"n": 1}))
        state = await one.event("presence_state")

    assert len(state.payload) == 1


async def test_what_is_tracked_must_be_an_object(realtime: Server) -> None:
    async with client(realtime) as one:
        await one.join(ROOM)
        await one.push(ROOM, "presence", track(["no"]))

        reason = {"reason": "Presence track payload must be a map"}
        assert (await one.hear()).payload == {"status": "error", "response": reason}


async def test_too_big_a_payload_ends_the_channel(database: FreshDatabase) -> None:
    async with served(database, max_payload=100) as server, client(server) as one:
        await one.join(ROOM)
        await one.push(ROOM, "presence", track({"x": "y" * 100}))
        fatal, close = await one.hear(), await one.hear()

        assert fatal.payload["message"] == "Track message size exceeded"
        assert close.event == "phx_close"


async def test_a_private_topic_needs_the_right_to_write(
    realtime: Server, database: FreshDatabase
) -> None:
    await allow(database, "select")
    async with client(realtime) as one:
        await one.join(ROOM, private=True, token=token("authenticated"))
        await one.push(ROOM, "presence", track({}))

        assert (await one.hear()).payload == {"status": "error", "response": {}}


async def test_private_and_public_topics_do_not_see_each_other(realtime: Server) -> None:
    async with client(realtime) as one, client(realtime) as two:
        await one.join(ROOM, private=True)
        await two.join(ROOM)
        await one.push(ROOM, "presence", track({}))
        await one.event("presence_diff")

        assert (await two.beat()).ref == "beat"
