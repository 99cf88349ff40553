"""Does the link hear what a Realtime server on a real database says?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import asyncpg
import pytest_asyncio
import structlog

from local.realtime.server import Server
from tests.support.databases import FreshDatabase
from tests.support.policies import admin
from tests.support.sockets import client, served, token
from tests.support.stories import Wire
from worker.event import Broadcast, Change, Event, Gap, Presence
from worker.realtime.link import Link
from worker.realtime.timing import Timing
from worker.subscription import Binding, Subscription

from .scripted import QUICK, Ear, at_once, running

LEADS = Subscription("changes", (Binding("public", "leads"),))
ROOM = Subscription("room", broadcast=True, presence=True)


def link_to(server: Server, ear: Ear, *subscriptions: Subscription, **differences: Any) -> Link:
    options: dict[str, Any] = {
        "url": server.url,
        "key": token("service_role"),
        "subscriptions": subscriptions,
        "listener": ear,
        "hidden_columns": frozenset({"password_hash"}),
        "timing": QUICK,
        "backoff": at_once,
    }
    return Link(**{**options, **differences})


@pytest_asyncio.fixture
async def table(database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database with a published table `leads`."""
    async with admin(database) as connection:
        await connection.execute("create table leads (id bigint primary key, status text)")
        await connection.execute("alter table leads replica identity full")
        await connection.execute("alter publication supabase_realtime add table leads")
        yield connection


async def test_every_change_from_ready_on_is_heard_in_order(
    realtime: Server, table: asyncpg.Connection
) -> None:
    ear = Ear()
    async with running(link_to(realtime, ear, LEADS)) as link:
        assert isinstance(await ear.next(), Gap)
        assert link.ready
        await table.execute("insert into leads select n, 'new' from generate_series(1, 500) n")
        await table.execute("update leads set status = 'won' where id <= 2")
        await table.execute("update leads set status = status where id = 1")
        await table.execute("delete from leads where id = 500")
        heard = [await ear.next() for _ in range(504)]

    changes = [event for event in heard if isinstance(event, Change)]
    assert [change.record["id"] for change in changes[:500]] == list(range(1, 501))
    assert [(change.kind, change.row["id"]) for change in changes[500:]] == [
        ("UPDATE", 1),
        ("UPDATE", 2),
        ("UPDATE", 1),
        ("DELETE", 500),
    ]
    assert changes[500].old == {"id": 1, "status": "new"}
    assert changes[500].columns == {"id": "int8", "status": "text"}
    assert len({change.id for change in changes}) == 504


async def test_an_update_that_changes_nothing_twice_in_a_transaction_is_two_changes(
    realtime: Server, table: asyncpg.Connection
) -> None:
    ear = Ear()
    await table.execute("insert into leads values (1, 'new')")
    async with running(link_to(realtime, ear, LEADS)):
        await ear.next_gap()
        async with table.transaction():
            for _ in range(3):
                await table.execute("update leads set status = 'new' where id = 1")
        heard = [await ear.next() for _ in range(3)]

    assert len({event.id for event in heard}) == 3


async def test_broadcasts_come_from_peers_in_both_forms_and_from_the_database(
    realtime: Server, database: FreshDatabase
) -> None:
    ear = Ear()
    async with running(link_to(realtime, ear, ROOM)) as link:
        await ear.next_gap()
        assert link.ready
        for vsn in ("1.0.0", "2.0.0"):
            async with client(realtime, vsn) as peer:
                joined = await peer.join("realtime:room")
                message = {"type": "broadcast", "event": vsn, "payload": {"x": 1}}
                await peer.push("realtime:room", "broadcast", message, join_ref=joined.ref)
                await next_broadcast(ear, vsn, {"x": 1})
        async with admin(database) as connection:
            await connection.execute("select realtime.send('{\"y\": 2}', 'sent', 'room', false)")
        sent = await next_broadcast(ear, "sent", None)

    assert sent.payload["y"] == 2
    assert str(sent.id) == sent.payload["id"], "the id is the row's"


async def next_broadcast(ear: Ear, event: str, payload: object) -> Broadcast:
    while not isinstance(heard := await ear.next(), Broadcast):
        pass
    assert (heard.topic, heard.event) == ("room", event)
    assert payload is None or heard.payload == payload
    return heard


async def test_presence_says_who_is_there_who_comes_and_who_goes(realtime: Server) -> None:
    ear = Ear()
    async with running(link_to(realtime, ear, ROOM)):
        full = await next_presence(ear)
        async with client(realtime, "2.0.0") as peer:
            joined = await peer.join("realtime:room", presence={"key": "ann", "enabled": True})
            track = {"type": "presence", "event": "track", "payload": {"city": "Toronto"}}
            await peer.push("realtime:room", "presence", track, join_ref=joined.ref)
            came = await next_presence(ear)
        went = await next_presence(ear)

    assert full.full and full.joins == {}
    assert came.joins["ann"][0]["city"] == "Toronto" and not came.full
    assert list(went.leaves) == ["ann"]


async def next_presence(ear: Ear) -> Presence:
    while not isinstance(heard := await ear.next(), Presence):
        pass
    return heard


async def test_a_table_that_is_not_published_is_refused_once_and_the_others_go_on(
    realtime: Server, table: asyncpg.Connection
) -> None:
    ear = Ear()
    missing = Subscription("missing", (Binding("public", "nowhere"),))
    with structlog.testing.capture_logs() as lines:
        async with running(link_to(realtime, ear, missing, LEADS)) as link:
            assert (await ear.next_gap()).topics == {"changes"}
            await table.execute("insert into leads values (1, 'new')")
            assert isinstance(await ear.next(), Change)
            assert link.channels == {"missing": "refused", "changes": "ready"}
            assert not link.ready

    (refused,) = [line for line in lines if line["event"] == "channel.refused"]
    assert refused["topic"] == "missing"
    assert "Unable to subscribe to changes with given parameters" in refused["reason"]


async def test_a_channel_that_is_refused_again_and_again_does_not_hold_up_the_others(
    database: FreshDatabase, table: asyncpg.Connection
) -> None:
    """On one socket each of these twenty changes would wait for a refusal: forty seconds."""
    ear, secret = Ear(), Subscription("secret", broadcast=True, private=True)
    stubborn = Timing(heartbeat=30.0, pace=0.0, refused=0.0)
    isolated = asyncio.Event()

    def hear(_logger: object, _method: str, line: MutableMapping[str, Any]) -> Any:
        if line["event"] == "channel.isolated":
            isolated.set()
        return line

    async with served(database, join_error_delay=2.0) as server:
        link = link_to(server, ear, LEADS, secret, key=token("anon"), timing=stubborn)
        with structlog.testing.capture_logs(processors=[hear]):
            async with running(link):
                assert (await ear.next_gap()).topics == {"changes"}
                await isolated.wait()
                async with asyncio.timeout(10):
                    for number in range(20):
                        await table.execute("insert into leads values ($1, 'new')", number)
                        assert isinstance(await ear.next(), Change)

                assert link.channels["changes"] == "ready" and link.channels["secret"] != "ready"


async def test_a_project_with_private_channels_only_tells_of_its_tables(
    database: FreshDatabase, table: asyncpg.Connection
) -> None:
    ear = Ear()
    async with (
        served(database, private_only=True) as server,
        running(link_to(server, ear, LEADS)) as link,
    ):
        await ear.next_gap()
        await table.execute("insert into leads values (1, 'new')")
        assert isinstance(await ear.next(), Change)
        assert link.ready and len(link.lines) == 1


async def test_a_wrong_key_is_named_and_never_given_up(realtime: Server) -> None:
    attempts = asyncio.Semaphore(0)

    async def pause(seconds: float) -> None:
        attempts.release()
        await asyncio.sleep(0)

    with structlog.testing.capture_logs() as lines:
        async with running(link_to(realtime, Ear(), LEADS, key="wrong", sleep=pause)):
            await attempts.acquire()
            await attempts.acquire()

    refused = next(line for line in lines if line["event"] == "connection.refused")
    assert refused["status"] == 401
    assert refused["reason"] == "The token provided is not a valid JWT"


async def test_an_idle_connection_lives_on_its_heartbeats(
    database: FreshDatabase, table: asyncpg.Connection
) -> None:
    """The server hangs up after a second without a byte; the link beats every 0.4 s."""
    ear = Ear()
    beats = Timing(heartbeat=0.4, silence=0.35, pace=0.0)
    answered: list[Event] = []
    async with (
        served(database, idle_timeout=1.0) as server,
        running(link_to(server, ear, LEADS, timing=beats)),
    ):
        answered.append(await ear.next())
        for number in range(4):
            await table.execute("select pg_sleep(0.4)")  # the time is what is measured
            await table.execute("insert into leads values ($1, 'new')", number)
            answered.append(await ear.next())

    assert [type(event) for event in answered] == [Gap, *[Change] * 4]
    assert len(ear.opened) == 1


async def test_what_was_sent_to_a_private_topic_while_we_were_away_is_repeated_once(
    realtime: Server, database: FreshDatabase
) -> None:
    ear, may_return = Ear(), asyncio.Event()
    away = asyncio.Event()

    async def pause(seconds: float) -> None:
        away.set()
        await may_return.wait()

    office = Subscription("office", broadcast=True, private=True)
    cable = Wire(realtime.url)
    async with (
        admin(database) as connection,
        cable.laid() as url,
        running(link_to(realtime, ear, office, url=url, sleep=pause)),
    ):
        await ear.next_gap()
        await send(connection, "before")
        before = await ear.next()
        cable.cut()
        await away.wait()
        await send(connection, "missed")
        may_return.set()
        missed, gap = await ear.next(), await ear.next()
        await send(connection, "after")
        after = await ear.next()

    assert isinstance(gap, Gap) and gap.reason == "connection lost"
    heard = [event for event in (before, missed, after) if isinstance(event, Broadcast)]
    assert [event.event for event in heard] == ["before", "missed", "after"]
    assert [event.replayed for event in heard] == [False, True, False]


async def send(connection: asyncpg.Connection, event: str) -> None:
    await connection.execute("select realtime.send('{}', $1, 'office', true)", event)
