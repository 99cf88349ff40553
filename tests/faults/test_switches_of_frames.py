"""What does a client see when frames are lost, doubled, out of order or no frames at all?"""

from __future__ import annotations

import json

import pytest

from local.realtime.acts import MALFORMED
from local.realtime.server import Server
from local.realtime.switch import Chance
from tests.support.sockets import Client, client

ROOM = "realtime:room"
SENT = 200


async def echo(one: Client, expected: int) -> list[int]:
    """Send numbered heartbeats; return the numbers of the answers that are expected."""
    for number in range(SENT):
        await one.push("phoenix", "heartbeat", {}, ref=str(number))
    return [int((await one.hear()).ref or "") for _ in range(expected)]


async def test_a_lost_frame_is_lost_as_the_seed_says_and_the_others_come(
    realtime: Server,
) -> None:
    chance = Chance(0.2, 3)
    expected = [number for number in range(SENT) if not chance.strikes()]
    async with client(realtime) as one:
        realtime.faults.throw("drop_frames", "0.2@3")
        heard = await echo(one, len(expected))
        realtime.faults.take_back("drop_frames")

        assert (await one.beat()).ref == "beat"
    assert heard == expected
    assert len(expected) < SENT


async def test_a_doubled_frame_comes_twice_as_the_seed_says(realtime: Server) -> None:
    chance = Chance(0.3, 4)
    expected = [number for number in range(SENT) for _ in range(1 + chance.strikes())]
    async with client(realtime) as one:
        realtime.faults.throw("duplicate_frames", "0.3@4")
        heard = await echo(one, len(expected))
        realtime.faults.take_back("duplicate_frames")

        assert (await one.beat()).ref == "beat"
    assert heard == expected
    assert len(expected) > SENT


async def test_a_frame_comes_behind_the_next_one_and_nothing_is_lost(realtime: Server) -> None:
    async with client(realtime) as one:
        realtime.faults.throw("reorder_frames", "0.3@1")
        heard = await echo(one, SENT)

    assert heard != sorted(heard)
    assert sorted(heard) == list(range(SENT))
    assert max(abs(number - place) for place, number in enumerate(heard)) < 10


async def test_a_frame_that_has_no_next_one_comes_all_the_same(realtime: Server) -> None:
    async with client(realtime) as one:
        realtime.faults.throw("reorder_frames", "1")
        assert (await one.beat()).ref == "beat"


@pytest.mark.parametrize("form", MALFORMED)
async def test_one_frame_cannot_be_read_and_the_next_can(realtime: Server, form: str) -> None:
    async with client(realtime) as one:
        await one.join(ROOM)
        realtime.faults.throw("malformed_frame", form)
        data = await one.socket.recv(decode=False)
        assert (await one.beat()).ref == "beat"

    assert data == MALFORMED[form].data
    assert realtime.faults.shown("malformed_frame") is None


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_an_oversized_frame_is_a_broadcast_of_that_size(realtime: Server, vsn: str) -> None:
    async with client(realtime, vsn) as one:
        await one.join(ROOM)
        realtime.faults.throw("oversized_frame", "9000000")
        data = await one.socket.recv()
        assert (await one.beat()).ref == "beat"

    assert len(data) == 9_000_000
    message = json.loads(data)
    payload = message[4] if vsn == "2.0.0" else message["payload"]
    assert payload["event"] == "oversized"
    assert set(payload["payload"]["filler"]) == {"x"}
