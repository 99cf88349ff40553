"""What does a client see of joins and channels that are broken on purpose?"""

from __future__ import annotations

import asyncio

import pytest

from local.realtime.faults import FATAL, REFUSED_JOIN
from local.realtime.server import Server
from tests.support.databases import FreshDatabase
from tests.support.sockets import Heard, client, served

ROOM = "realtime:room"
OTHER = "realtime:other"
CLOSES = ("ClientJoinRateLimitReached", "TenantNotFound")


async def test_joins_are_refused_with_each_reason_and_some_end_the_socket(
    realtime: Server,
) -> None:
    for reason in REFUSED_JOIN.allowed:
        async with client(realtime) as one:
            realtime.faults.throw("refuse_joins", reason)
            refused = await one.join(ROOM)
            realtime.faults.take_back("refuse_joins")
            said = reason.replace("<topic>", "room")
            assert refused.payload == {"status": "error", "response": {"reason": said}}
            if reason.startswith(CLOSES):
                await one.socket.wait_closed()
                assert one.socket.close_code == 1001
            else:
                assert (await one.join(ROOM)).payload["status"] == "ok", reason


async def test_a_refusal_holds_up_the_socket_unless_phoenix_itself_refuses(
    database: FreshDatabase,
) -> None:
    async with served(database, join_error_delay=0.3) as server, client(server) as one:
        heard, waited = [], []
        for reason in ("PrivateOnly", "unmatched topic"):
            server.faults.throw("refuse_joins", reason)
            began = asyncio.get_running_loop().time()
            await one.push(ROOM, "phx_join", {"config": {}}, ref="join")
            await one.push("phoenix", "heartbeat", {}, ref="beat")
            heard.append([(await one.hear()).ref for _ in range(2)])
            waited.append(asyncio.get_running_loop().time() - began >= 0.3)

    assert heard == [["join", "beat"], ["join", "beat"]]
    assert waited == [True, False]


async def test_a_late_join_is_accepted_and_holds_up_the_socket_until_then(
    realtime: Server,
) -> None:
    async with client(realtime) as one, client(realtime) as other:
        realtime.faults.throw("late_joins", "0.3")
        began = asyncio.get_running_loop().time()
        await one.push(ROOM, "phx_join", {"config": {}}, ref="join")
        await one.push("phoenix", "heartbeat", {}, ref="beat")
        assert (await other.beat()).ref == "beat", "other sockets do not wait"
        heard = [await one.hear() for _ in range(2)]
        late = asyncio.get_running_loop().time() - began
        realtime.faults.take_back("late_joins")

    assert [each.ref for each in heard] == ["join", "beat"]
    assert heard[0].payload["status"] == "ok"
    assert late >= 0.3


async def test_late_joins_that_are_taken_back_wait_no_longer(realtime: Server) -> None:
    async with client(realtime) as one:
        realtime.faults.throw("late_joins", "3600")
        await one.push(ROOM, "phx_join", {"config": {}}, ref="join")
        await one.push("phoenix", "heartbeat", {}, ref="beat")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):  # what is measured: no answer comes
                await one.hear()
        realtime.faults.take_back("late_joins")

        assert [(await one.hear()).ref for _ in range(2)] == ["join", "beat"]


async def test_a_stale_close_comes_late_under_the_old_reference(realtime: Server) -> None:
    async with client(realtime) as one:
        first = await one.join(ROOM, broadcast={"self": True})
        realtime.faults.throw("stale_close", "0.2")
        second = await one.join(ROOM, broadcast={"self": True})
        message = {"type": "broadcast", "event": "e", "payload": {}}
        await one.push(ROOM, "broadcast", message)
        between = await one.hear()
        close = await one.hear()
        await one.push(ROOM, "broadcast", message)
        after = await one.hear()

    assert second.payload["status"] == "ok"
    assert between.event == after.event == "broadcast"
    assert close == Heard(first.ref, first.ref, ROOM, "phx_close", {})


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_channels_crash_and_can_be_joined_again_on_the_same_socket(
    realtime: Server, vsn: str
) -> None:
    async with client(realtime, vsn) as one:
        answers = {topic: await one.join(topic) for topic in (ROOM, OTHER)}
        realtime.faults.throw("crash_channels")
        errors = [await one.hear() for _ in range(2)]
        await one.push(ROOM, "broadcast", {"type": "broadcast"}, ref="9")
        unmatched = await one.hear()
        again = await one.join(ROOM)

    crashed = {"reason": "channel_crash"}
    assert errors == [
        Heard(answer.join_ref, answer.ref, topic, "phx_error", crashed)
        for topic, answer in answers.items()
    ]
    assert unmatched.payload["response"] == {"reason": "unmatched topic"}
    assert again.payload["status"] == "ok"


async def test_channels_are_shut_down_with_each_message(realtime: Server) -> None:
    said = {"channel": "room", "extension": "system", "status": "error"}
    async with client(realtime) as one:
        for message in FATAL.allowed:
            ref = (await one.join(ROOM)).ref
            realtime.faults.throw("shut_channels", message)
            told = said | {"message": message.replace("<topic>", "room")}
            assert await one.hear() == Heard(ref, None, ROOM, "system", told)
            assert await one.hear() == Heard(ref, ref, ROOM, "phx_close", {})
