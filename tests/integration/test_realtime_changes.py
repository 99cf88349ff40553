"""When does a channel hear of changes, and what is it told about that?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from local.realtime.server import Server
from tests.support.databases import FreshDatabase
from tests.support.sockets import Heard, client, served, token
from tests.support.subscribing import LEADS, ROOM, SUBSCRIBED, leads_table, subscribed


@pytest_asyncio.fixture
async def table(database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    async with leads_table(database) as connection:
        yield connection


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_changes_flow_from_subscribed_on(
    realtime: Server, table: asyncpg.Connection, vsn: str
) -> None:
    async with client(realtime, vsn) as one:
        answer = await one.join(ROOM, postgres_changes=[LEADS])
        said = await one.hear()
        await table.execute("insert into leads values (9007199254740993, 'new')")
        change = await one.hear()

    (binding,) = answer.payload["response"]["postgres_changes"]
    assert said.payload == SUBSCRIBED
    assert (said.join_ref, said.ref) == (("1" if vsn == "2.0.0" else None), None)
    assert change[:4] == (None, None, ROOM, "postgres_changes")
    assert change.payload["ids"] == [binding["id"]]
    data = change.payload["data"]
    assert (data["type"], data["table"], data["errors"]) == ("INSERT", "leads", None)
    assert data["record"] == {"id": 9007199254740993, "status": "new"}


async def test_subscribed_comes_after_the_delay_and_not_with_the_reply(
    database: FreshDatabase, table: asyncpg.Connection
) -> None:
    async with served(database, subscribed_delay=(0.3, 0.3)) as server, client(server) as one:
        await server.feed.ready.wait()
        await one.join(ROOM, postgres_changes=[LEADS])
        began = asyncio.get_running_loop().time()
        # Committed after the reply and before `Subscribed to PostgreSQL`: nobody is told.
        await table.execute("insert into leads values (1)")
        said = await one.hear()
        took = asyncio.get_running_loop().time() - began
        await table.execute("insert into leads values (2)")
        change = await one.hear()

        assert said.payload == SUBSCRIBED
        assert took >= 0.25
        assert change.payload["data"]["record"]["id"] == 2


async def test_the_numbers_come_in_reverse_order_of_the_request(
    realtime: Server, table: asyncpg.Connection
) -> None:
    async with client(realtime) as one:
        ids = await subscribed(one, LEADS, {**LEADS, "event": "INSERT"}, LEADS)
        await table.execute("insert into leads values (1)")
        change = await one.hear()

    assert change.payload["ids"] == ids[::-1]


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        (
            {"event": "INSERT", "schema": "public", "table": "nope"},
            "Unable to subscribe to changes with given parameters. Please check Realtime is "
            "enabled for the given connect parameters: [event: INSERT, schema: public, "
            "table: nope, filters: [], select: nil]",
        ),
        ({**LEADS, "filter": "wrong"}, 'Error parsing `filter` params: ["wrong"]'),
        ({**LEADS, "table": "*", "select": ["id"]}, None),
        ({"event": "*"}, None),
        ({**LEADS, "table": "nul\0"}, None),
        ({**LEADS, "filter": "status=eq.nul\0"}, None),
        ({**LEADS, "select": ["nul\0"]}, None),
    ],
)
async def test_what_cannot_be_subscribed_is_said_and_the_channel_stays(
    realtime: Server, table: asyncpg.Connection, binding: object, message: str | None
) -> None:
    async with client(realtime) as one:
        await one.join(ROOM, postgres_changes=[binding], broadcast={"ack": True})
        said = await one.hear()
        await one.push(ROOM, "broadcast", {})

        assert (said.payload["status"], said.payload["channel"]) == ("error", "room")
        assert said.payload["extension"] == "postgres_changes"
        assert message is None or said.payload["message"] == message
        assert (await one.hear()).event == "phx_reply"


async def test_an_old_client_names_the_table_in_its_topic(
    realtime: Server, table: asyncpg.Connection
) -> None:
    async with client(realtime) as one:
        await one.push("realtime:public:leads", "phx_join", {}, ref="1", join_ref="1")
        await one.event("system")
        await table.execute("insert into leads values (1)")
        change = await one.hear()

    assert change[:4] == (None, None, "realtime:public:leads", "INSERT")
    assert change.payload["record"] == {"id": 1, "status": None}


async def test_a_binding_that_is_no_object_refuses_the_join(realtime: Server) -> None:
    async with client(realtime) as one:
        answer = await one.join(ROOM, postgres_changes=["nonsense"])

    assert answer.payload["response"] == {"reason": "Unknown Error on Channel"}


async def test_a_new_token_repeats_subscribed(realtime: Server, table: asyncpg.Connection) -> None:
    async with client(realtime) as one:
        await subscribed(one, LEADS)
        await one.push(ROOM, "access_token", {"access_token": token("authenticated", sub="1")})
        said = await one.hear()
        await table.execute("insert into leads values (1)")
        change = await one.hear()

        assert said.payload == SUBSCRIBED
        assert change.event == "postgres_changes"
        assert (await one.beat()).ref == "beat"


async def test_whoever_left_hears_no_more_changes(
    realtime: Server, table: asyncpg.Connection
) -> None:
    async with client(realtime) as one, client(realtime) as witness:
        await subscribed(one, LEADS)
        await subscribed(witness, LEADS)
        await one.push(ROOM, "phx_leave", {})
        await one.event("phx_close")
        await table.execute("insert into leads values (1)")
        await witness.hear()

        assert (await one.beat()).ref == "beat"


async def test_a_lost_replication_connection_is_not_told_but_subscribed_is_repeated(
    realtime: Server, table: asyncpg.Connection
) -> None:
    async with client(realtime) as one:
        await subscribed(one, LEADS)
        ended = await table.fetchval(
            "select count(pg_terminate_backend(active_pid)) from pg_replication_slots "
            "where database = current_database()"
        )
        said = await one.hear()
        await table.execute("insert into leads values (1)")
        change = await one.hear()

    assert ended == 1
    assert said == Heard("1", None, ROOM, "system", SUBSCRIBED)
    assert change.payload["data"]["record"]["id"] == 1


async def test_changes_can_be_silenced_while_everything_else_goes_on(
    realtime: Server, table: asyncpg.Connection
) -> None:
    async with client(realtime) as one:
        await subscribed(one, LEADS, broadcast={"self": True}, private=True)
        realtime.faults.cdc_dead = True
        await table.execute("insert into leads values (1)")
        await table.execute("select realtime.send('{}', 'after', 'room')")
        await one.hear_bytes()
        realtime.faults.cdc_dead = None
        await table.execute("insert into leads values (2)")

        assert (await one.hear()).payload["data"]["record"]["id"] == 2


async def test_every_socket_hears_the_changes_in_the_order_of_commits(
    realtime: Server, table: asyncpg.Connection
) -> None:
    async with client(realtime) as first, client(realtime) as second:
        for each in (first, second):
            await subscribed(each, LEADS)
        for n in range(200):
            await table.execute("insert into leads values ($1)", n)
        heard = [[await each.hear() for _ in range(200)] for each in (first, second)]

    for changes in heard:
        numbers = [change.payload["data"]["record"]["id"] for change in changes]
        assert numbers == list(range(200))
