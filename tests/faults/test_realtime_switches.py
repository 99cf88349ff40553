"""Does each switch of the local server break what it says, and nothing after it is back?"""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect

from local.realtime.server import Server
from tests.support.sockets import address, client


async def test_unanswered_heartbeats_leave_everything_else_alone(realtime: Server) -> None:
    async with client(realtime) as one:
        realtime.faults.ignore_heartbeats = True
        await one.push("phoenix", "heartbeat", {}, ref="lost")
        answer = await one.join("realtime:room")
        realtime.faults.ignore_heartbeats = None

        assert answer.payload["status"] == "ok"
        assert (await one.beat()).ref == "beat"


async def test_joins_are_refused_with_the_reason_given(realtime: Server) -> None:
    reason = "RealtimeRestarting: Realtime is restarting, please standby"
    async with client(realtime) as one:
        realtime.faults.refuse_joins = reason
        refused = await one.join("realtime:room")
        realtime.faults.refuse_joins = None
        accepted = await one.join("realtime:room")

    assert refused.payload == {"status": "error", "response": {"reason": reason}}
    assert accepted.payload["status"] == "ok"


async def test_a_frozen_server_neither_reads_nor_writes_until_it_thaws(realtime: Server) -> None:
    async with client(realtime) as one:
        await one.join("realtime:room")
        realtime.faults.freeze = True
        await one.push("phoenix", "heartbeat", {}, ref="late")
        pong = asyncio.ensure_future(await one.socket.ping())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):  # what is measured: nothing comes
                await one.hear()
        assert not pong.done()
        realtime.faults.freeze = None

        assert (await one.hear()).ref == "late"
        await pong


@pytest.mark.parametrize("code", [1000, 1011])
async def test_whoever_is_accepted_is_hung_up_on(realtime: Server, code: int) -> None:
    realtime.faults.hang_up = code
    socket = await connect(address(realtime), proxy=None)
    await socket.wait_closed()

    assert socket.close_code == code
