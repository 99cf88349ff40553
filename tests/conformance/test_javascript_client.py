"""Does the official JavaScript client get along with the local server?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from local.realtime.server import Server
from tests.support.javascript import BROADCASTS, JavaScript, javascript, raw
from tests.support.sockets import client

# The first test of a fresh checkout waits for npm.
pytestmark = pytest.mark.timeout(240)


@pytest_asyncio.fixture
async def js(realtime: Server, packages: Path) -> AsyncIterator[JavaScript]:
    async with javascript(packages, realtime) as one:
        yield one


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
