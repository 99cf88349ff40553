"""What is on which socket, and who else may speak on it?"""

import asyncio
from collections import Counter
from typing import Any

import structlog

from worker.realtime.timing import Timing
from worker.subscription import Subscription

from .scripted import LEADS, Ear, Peer, make, running, scripted

ROOM = Subscription("room", broadcast=True)
BAD = Subscription("bad", broadcast=True)
REFUSAL = "Unauthorized: You do not have permissions to read from this Channel topic: bad"
FULL = "ChannelRateLimitReached: Too many channels"
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


class Doorkeeper:
    """
    Numbers the sockets and writes down which topic was joined on which of them.

    It refuses the topics in `reasons`, and whoever is more than `room` on a socket.
    """

    def __init__(self) -> None:
        self.joins: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        self.gone: asyncio.Queue[int] = asyncio.Queue()
        self.reasons: dict[str, str] = {}
        self.sockets = 0
        self.room = 1000

    async def script(self, peer: Peer) -> None:
        number = self.sockets = self.sockets + 1
        joined: set[str] = set()
        try:
            while True:
                frame = await peer.read()
                topic = frame[2].removeprefix("realtime:")
                if frame[3] == "phx_join":
                    self.joins.put_nowait((topic, number))
                    reason = FULL if len(joined) >= self.room else self.reasons.get(topic)
                    if reason is not None:
                        await peer.answer(frame, "error", reason=reason)
                        continue
                    joined.add(topic)
                await peer.answer(frame)
                if frame[3] == "phx_join" and frame[4]["config"]["postgres_changes"]:
                    await peer.subscribed(frame[0])
        finally:
            self.gone.put_nowait(number)


SOON = Timing(heartbeat=1000.0, pace=0.0, refused=0.0)  # what is refused for good is asked again


async def test_a_channel_refused_for_good_is_tried_on_a_socket_apart_until_it_is_accepted() -> None:
    door, ear = Doorkeeper(), Ear()
    door.reasons["bad"] = REFUSAL
    wanted = [ROOM, BAD]
    with structlog.testing.capture_logs() as lines:
        async with (
            scripted(door.script) as url,
            running(make(url, ear, subscriptions=wanted, timing=SOON)) as link,
        ):
            joins = [await door.joins.get() for _ in range(5)]
            assert link.connected and not link.ready
            assert link.channels["room"] == "ready"
            door.reasons.clear()
            while not link.ready:
                joins.append(await door.joins.get())
                await ear.heard.get()
            assert await door.gone.get() == 2, "the socket apart is not kept"
            assert link.ready and link.connected and link.channels["bad"] == "ready"

    assert sorted(joins[:2]) == [("bad", 1), ("room", 1)]
    assert set(joins[2:-1]) == {("bad", 2)} and joins[-1] == ("bad", 1)
    assert [line["topic"] for line in lines if line["event"] == "channel.isolated"] == ["bad"]
    assert [line["topic"] for line in lines if line["event"] == "channel.refused"] == ["bad"]
    assert [line["reason"] for line in lines if line["event"] == "gap.opened"] == ["start"]


async def test_a_table_that_comes_back_is_ready_where_it_was() -> None:
    door, ear = Doorkeeper(), Ear()
    door.reasons["leads"] = REFUSAL

    async with (
        scripted(door.script) as url,
        running(make(url, ear, subscriptions=[ROOM, LEADS], timing=SOON)) as link,
    ):
        while await door.joins.get() != ("leads", 2):
            pass
        door.reasons.clear()
        while (await ear.next_gap()).tables != LEADS.tables:
            pass
        assert link.ready
        assert await door.gone.get() == 2

    joins = [door.joins.get_nowait() for _ in range(door.joins.qsize())]
    assert door.sockets == 2 and joins[-1] == ("leads", 1)


async def test_a_channel_refused_for_now_is_moved_when_it_is_refused_again() -> None:
    door, ear = Doorkeeper(), Ear()
    door.reasons["bad"] = "QueryCanceled: Query was cancelled, please try again"
    async with (
        scripted(door.script) as url,
        running(make(url, ear, subscriptions=[ROOM, BAD], timing=SOON)),
    ):
        joins = [await door.joins.get() for _ in range(5)]

    assert Counter(joins[:3]) == {("room", 1): 1, ("bad", 1): 2}
    assert joins[3:] == [("bad", 2), ("bad", 2)]


async def test_when_all_are_refused_alike_nobody_is_moved() -> None:
    door, ear = Doorkeeper(), Ear()
    door.reasons |= dict.fromkeys(("room", "leads"), "RealtimeRestarting: please standby")
    async with (
        scripted(door.script) as url,
        running(make(url, ear, subscriptions=[ROOM, LEADS], timing=SOON)) as link,
    ):
        joins = [await door.joins.get() for _ in range(20)]
        door.reasons.clear()
        await ear.next_gap()
        await ear.next_gap()
        assert link.ready

    assert {number for _, number in joins} == {1}
    assert door.sockets == 1, "nor when one after the other is accepted again"


async def test_a_trial_that_is_lost_is_taken_up_again() -> None:
    door, ear = Doorkeeper(), Ear()
    door.reasons["bad"] = REFUSAL

    async def script(peer: Peer) -> None:
        if door.sockets == 1:  # the second one
            door.sockets += 1
            await peer.until("phx_join")
        else:
            await door.script(peer)

    async with (
        scripted(script) as url,
        running(make(url, ear, subscriptions=[ROOM, BAD], timing=SOON)) as link,
    ):
        while await door.joins.get() != ("bad", 3):
            pass
        assert link.connected and link.channels["room"] == "ready"


async def test_a_server_that_takes_fewer_channels_gets_more_sockets() -> None:
    door, ear = Doorkeeper(), Ear()
    door.room = 40
    rooms = [Subscription(f"room-{number}", broadcast=True) for number in range(90)]
    async with (
        scripted(door.script) as url,
        running(make(url, ear, subscriptions=rooms, timing=SOON)) as link,
    ):
        for _ in rooms:
            await ear.next_gap()
        assert link.ready and link.connected

    assert door.sockets == 3


async def test_a_server_that_says_it_is_full_at_once_gets_no_socket_for_each_channel() -> None:
    door, ear = Doorkeeper(), Ear()
    door.room = 1
    rooms = [Subscription(f"room-{number}", broadcast=True) for number in range(20)]
    async with (
        scripted(door.script) as url,
        running(make(url, ear, subscriptions=rooms, timing=SOON)),
    ):
        for _ in range(100):
            await door.joins.get()

    assert door.sockets == 1
