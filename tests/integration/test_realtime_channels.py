"""How does a channel come to be, and how does it end?"""

from __future__ import annotations

import asyncio
import time

import pytest

from local import tokens
from local.realtime.server import Server
from tests.support.databases import FreshDatabase
from tests.support.policies import allow
from tests.support.sockets import SECRET, Heard, client, served, token

VERSIONS = ("1.0.0", "2.0.0")
OK = {"status": "ok", "response": {"postgres_changes": []}}


@pytest.mark.parametrize("vsn", VERSIONS)
async def test_a_heartbeat_is_answered_under_its_own_reference(realtime: Server, vsn: str) -> None:
    async with client(realtime, vsn) as one:
        answer = await one.beat()

    assert answer == Heard(None, "beat", "phoenix", "phx_reply", {"status": "ok", "response": {}})


async def test_a_join_is_answered_with_both_references(realtime: Server) -> None:
    async with client(realtime) as one:
        await one.push("realtime:room", "phx_join", {"config": {}}, ref="8", join_ref="7")

        assert await one.hear() == Heard("7", "8", "realtime:room", "phx_reply", OK)


async def test_a_join_in_version_1_is_answered_without_join_ref(realtime: Server) -> None:
    async with client(realtime, "1.0.0") as one:
        answer = await one.join("realtime:room")

    assert answer == Heard(None, "1", "realtime:room", "phx_reply", OK)


async def test_each_binding_is_echoed_key_for_key_with_its_number(realtime: Server) -> None:
    wanted = [
        {"event": "*", "schema": "public", "table": "leads", "anything": [1]},
        None,
        {"event": "INSERT", "schema": "public", "table": "leads", "filter": "id=eq.1"},
    ]
    async with client(realtime) as one:
        echoed = (await one.join("realtime:a", postgres_changes=wanted)).payload["response"]
        again = (await one.join("realtime:b", postgres_changes=wanted)).payload["response"]

    bindings = echoed["postgres_changes"]
    assert [{k: v for k, v in b.items() if k != "id"} for b in bindings] == [wanted[0], wanted[2]]
    assert bindings[0]["id"] != bindings[1]["id"]
    assert again == echoed


@pytest.mark.parametrize(
    ("topic", "given", "reason"),
    [
        ("realtime:", None, "TopicNameRequired: You must provide a topic name"),
        ("room", None, "unmatched topic"),
        ("realtime:room", "nonsense", "MalformedJWT: The token provided is not a valid JWT"),
        (
            "realtime:room",
            tokens.issue("x" * 32, "anon"),
            "JwtSignatureError: Failed to validate JWT signature",
        ),
    ],
)
async def test_a_refused_join_says_why(
    realtime: Server, topic: str, given: str | None, reason: str
) -> None:
    async with client(realtime) as one:
        answer = await one.join(topic, token=given)

    assert answer.payload == {"status": "error", "response": {"reason": reason}}


async def test_a_join_with_an_expired_token_says_since_when(realtime: Server) -> None:
    expired = tokens.issue(SECRET, "authenticated", lifetime=-60)
    async with client(realtime) as one:
        answer = await one.join("realtime:room", token=expired)

    reason = answer.payload["response"]["reason"]
    assert reason.startswith("InvalidJWTToken: Token has expired 6")
    assert reason.endswith(" seconds ago")


async def test_the_hundred_and_first_channel_is_refused(database: FreshDatabase) -> None:
    async with served(database, max_channels=2) as server, client(server) as one:
        await one.join("realtime:1")
        await one.join("realtime:2")
        answer = await one.join("realtime:3")

        reason = "ChannelRateLimitReached: Too many channels"
        assert answer.payload["response"] == {"reason": reason}


async def test_public_channels_may_be_switched_off(database: FreshDatabase) -> None:
    async with served(database, private_only=True) as server, client(server) as one:
        answer = await one.join("realtime:room")

        reason = "PrivateOnly: This project only allows private channels"
        assert answer.payload["response"] == {"reason": reason}


async def test_a_refused_join_holds_up_everything_on_its_socket(database: FreshDatabase) -> None:
    async with (
        served(database, join_error_delay=0.3) as server,
        client(server) as one,
        client(server) as other,
    ):
        await one.join("realtime:good")
        await other.join("realtime:good")
        began = asyncio.get_running_loop().time()
        await one.push("realtime:", "phx_join", {"config": {}}, ref="bad", join_ref="bad")
        await one.push("phoenix", "heartbeat", {}, ref="beat")
        await other.push("realtime:good", "broadcast", {"event": "e", "payload": {}})
        await other.beat()
        heard = [await one.hear() for _ in range(3)]

        assert asyncio.get_running_loop().time() - began >= 0.3
        # First the answer; then what others sent meanwhile; then what was not read till now.
        assert [(h.event, h.ref) for h in heard] == [
            ("phx_reply", "bad"),
            ("broadcast", None),
            ("phx_reply", "beat"),
        ]


async def test_an_unmatched_topic_is_no_reason_to_wait(database: FreshDatabase) -> None:
    async with served(database, join_error_delay=60.0) as server, client(server) as one:
        answer = await one.join("room")

        assert answer.payload["response"] == {"reason": "unmatched topic"}


async def test_a_message_for_a_topic_that_is_not_joined_is_unmatched(realtime: Server) -> None:
    async with client(realtime) as one:
        await one.push("realtime:room", "broadcast", {}, ref="5", join_ref="4")

        assert await one.hear() == Heard(
            "4",
            "5",
            "realtime:room",
            "phx_reply",
            {"status": "error", "response": {"reason": "unmatched topic"}},
        )


async def test_leaving_is_answered_and_then_closed(realtime: Server) -> None:
    async with client(realtime) as one:
        await one.join("realtime:room")
        await one.push("realtime:room", "phx_leave", {}, ref="2", join_ref="1")
        reply, close = await one.hear(), await one.hear()
        await one.push("realtime:room", "phx_leave", {}, ref="3")
        again = await one.hear()

    ok = {"status": "ok", "response": {}}
    assert reply == Heard("1", "2", "realtime:room", "phx_reply", ok)
    assert close == Heard("1", "1", "realtime:room", "phx_close", {})
    assert again == Heard(None, "3", "realtime:room", "phx_reply", ok)


@pytest.mark.parametrize("vsn", VERSIONS)
async def test_a_second_join_is_answered_and_then_the_first_closed(
    realtime: Server, vsn: str
) -> None:
    async with client(realtime, vsn) as one:
        await one.push("realtime:room", "phx_join", {"config": {}}, ref="1", join_ref="1")
        await one.push("realtime:room", "phx_join", {"config": {}}, ref="2", join_ref="2")
        heard = [await one.hear() for _ in range(3)]

    assert [(h.event, h.ref) for h in heard] == [
        ("phx_reply", "1"),
        ("phx_reply", "2"),
        ("phx_close", "1"),
    ]
    assert heard[2].join_ref == ("1" if vsn == "2.0.0" else None)


async def test_a_second_join_that_fails_has_destroyed_the_first(realtime: Server) -> None:
    async with client(realtime) as one:
        await one.join("realtime:room")
        answer = await one.join("realtime:room", token="nonsense")
        close = await one.hear()
        await one.push("realtime:room", "broadcast", {})

        assert answer.payload["status"] == "error"
        assert (close.event, close.ref) == ("phx_close", "1")
        assert (await one.hear()).payload["response"] == {"reason": "unmatched topic"}


async def test_a_join_without_join_ref_is_closed_without_one(realtime: Server) -> None:
    async with client(realtime) as one:
        await one.push("realtime:room", "phx_join", {"config": {}}, ref="1")
        await one.push("realtime:room", "phx_leave", {}, ref="2")
        close = await one.event("phx_close")

    assert close == Heard(None, None, "realtime:room", "phx_close", {})


async def test_a_stale_join_ref_does_no_harm(realtime: Server) -> None:
    async with client(realtime) as one:
        await one.join("realtime:room", broadcast={"ack": True})
        await one.push("realtime:room", "broadcast", {}, join_ref="long ago")

        assert (await one.hear()).payload == {"status": "ok", "response": {}}


async def test_a_token_that_expires_ends_its_channel_and_no_other(realtime: Server) -> None:
    async with client(realtime) as one:
        short = tokens.issue(SECRET, "authenticated", lifetime=1, now=time.time() + 0.5)
        await one.join("realtime:short", token=short)
        await one.join("realtime:long")
        fatal, close = await one.hear(), await one.hear()

        assert fatal.join_ref == "1"
        assert fatal.payload == {
            "extension": "system",
            "status": "error",
            "message": "Token has expired 0 seconds ago",
            "channel": "short",
        }
        assert (close.event, close.topic) == ("phx_close", "realtime:short")
        await one.push("realtime:long", "phx_leave", {}, ref="9")
        assert (await one.hear()).payload["status"] == "ok"


async def test_a_new_token_is_not_answered_and_counts_from_then_on(realtime: Server) -> None:
    async with client(realtime) as one:
        short = tokens.issue(SECRET, "authenticated", lifetime=1, now=time.time() + 0.5)
        await one.join("realtime:room", token=short)
        await one.join("realtime:other", token=short)
        await one.push("realtime:room", "access_token", {"access_token": token()})
        answer = await one.beat()
        ended = [await one.hear(), await one.hear()]

        assert answer.ref == "beat"
        assert {heard.topic for heard in ended} == {"realtime:other"}
        assert (await one.beat()).ref == "beat"


@pytest.mark.parametrize("same", [None, "sb_secret_x", 7])
async def test_what_is_no_new_token_is_ignored(realtime: Server, same: object) -> None:
    async with client(realtime) as one:
        await one.join("realtime:room")
        await one.push("realtime:room", "access_token", {"access_token": same})

        assert (await one.beat()).ref == "beat"


async def test_a_new_token_that_is_not_accepted_ends_the_channel(realtime: Server) -> None:
    async with client(realtime) as one:
        await one.join("realtime:room")
        await one.push("realtime:room", "access_token", {"access_token": "nonsense"})
        fatal, close = await one.hear(), await one.hear()

    assert fatal.payload["message"] == "The token provided is not a valid JWT"
    assert (fatal.payload["status"], close.event) == ("error", "phx_close")


async def test_a_private_channel_needs_a_policy(realtime: Server, database: FreshDatabase) -> None:
    await allow(database, "select", "realtime.topic() = 'mine'")
    async with client(realtime) as one:
        user = token("authenticated", sub="1")
        mine = await one.join("realtime:mine", token=user, private=True)
        yours = await one.join("realtime:yours", token=user, private=True)

    reason = "Unauthorized: You do not have permissions to read from this Channel topic: yours"
    assert mine.payload["status"] == "ok"
    assert yours.payload == {"status": "error", "response": {"reason": reason}}


async def test_a_role_that_does_not_exist_may_read_nothing(realtime: Server) -> None:
    async with client(realtime) as one:
        answer = await one.join("realtime:mine", token=token("nobody"), private=True)

    assert answer.payload["response"]["reason"].startswith("Unauthorized: ")


async def test_a_new_token_with_fewer_rights_ends_a_private_channel(
    realtime: Server, database: FreshDatabase
) -> None:
    claims = "current_setting('request.jwt.claims')::json"
    await allow(database, "select", f"{claims} ->> 'sub' = '1' or extension = 'presence'")
    async with client(realtime) as one:
        await one.join("realtime:room", token=token("authenticated", sub="1"), private=True)
        await one.push(
            "realtime:room", "access_token", {"access_token": token("authenticated", sub="2")}
        )
        fatal = await one.hear()

    text = "You no longer have permission to read from this Channel topic: room"
    assert fatal.payload["message"] == text


async def test_replication_that_is_there_is_said_once_it_is_asked_for(realtime: Server) -> None:
    async with client(realtime) as one:
        await one.join("realtime:room", broadcast={"replication_ready": True})
        said = await one.hear()

    assert said.payload == {
        "extension": "system",
        "status": "ok",
        "message": "Replication connection established",
        "channel": "room",
    }
