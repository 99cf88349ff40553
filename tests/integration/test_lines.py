"""What is on which socket, and who else may speak on it?"""

import asyncio
from collections import Counter
from typing import Any

from worker.realtime.channel import Timing
from worker.subscription import Subscription

from .scripted import Ear, Peer, make, running, scripted

PATIENT = Timing(heartbeat=1000.0, pace=0.0)  # nothing is due by itself


async def test_more_than_a_hundred_channels_take_several_sockets() -> None:
    joined: Counter[Peer] = Counter()

    async def script(peer: Peer) -> None:
        while True:
            frame = await peer.read()
            joined[peer] += frame[3] == "phx_join"
            await peer.answer(frame)

    rooms = [Subscription(f"room-{number}", broadcast=True) for number in range(230)]
    ear = Ear()
    async with scripted(script) as url, running(make(url, ear, subscriptions=rooms)) as link:
        for _ in rooms:
            await ear.next_gap()
        assert link.ready and link.connected
        assert set(link.channels.values()) == {"ready"} and len(link.channels) == 230

    assert sorted(joined.values()) == [30, 100, 100]


async def test_what_others_push_goes_out_at_once() -> None:
    pushed: asyncio.Queue[list[Any]] = asyncio.Queue()

    async def script(peer: Peer) -> None:
        await peer.until("phx_join")
        while True:
            frame = await peer.read()
            if frame[3] == "surprise":
                pushed.put_nowait(frame)

    ear = Ear()
    async with scripted(script) as url, running(make(url, ear, timing=PATIENT)) as link:
        await ear.next_gap()
        (line,) = link.lines
        assert line.session is not None
        line.session.push('[null,"1","realtime:leads","surprise",{}]', 0.0)
        line.wake()

        assert (await pushed.get())[3] == "surprise"


async def test_what_others_push_goes_out_while_a_listener_keeps_us_waiting() -> None:
    pushed: asyncio.Queue[str] = asyncio.Queue()
    stuck = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.until("phx_join")
        for number in range(400):
            await peer.change(number)
        stuck.set()
        while True:
            pushed.put_nowait((await peer.read())[3])

    ear = Ear()
    ear.listens.clear()
    async with scripted(script) as url, running(make(url, ear, timing=PATIENT)) as link:
        await stuck.wait()
        (line,) = link.lines
        assert line.session is not None
        line.session.push('[null,"1","realtime:leads","surprise",{}]', 0.0)
        line.wake()

        assert await pushed.get() == "surprise"
        ear.listens.set()
