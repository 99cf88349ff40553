"""Does every subscriber get what it asked for and may see, in order, and nothing else?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from local.realtime.changes import ChangeFeed, FeedLost, SubscriptionRefused, Wanted
from tests.support.changes import Listener, listening, started
from tests.support.databases import FreshDatabase
from tests.support.goldens import execute

ITEMS = {"event": "*", "schema": "public", "table": "items"}


@pytest_asyncio.fixture
async def session(database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    """Of role `postgres`, with a published table `items`."""
    connection = await asyncpg.connect(database.url)
    await execute(
        connection,
        [
            "create table items (id int primary key, title text, owner text)",
            "alter publication supabase_realtime add table items",
        ],
    )
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def listener(session: asyncpg.Connection, database: FreshDatabase) -> AsyncIterator[Listener]:
    async with listening(database.admin_url) as running:
        yield running


def titles(changes: list[Any]) -> list[Any]:
    return [change["record"]["title"] for change in changes]


async def test_the_ids_of_all_matching_bindings_come_in_reverse_order(
    listener: Listener, session: asyncpg.Connection
) -> None:
    inserts = ITEMS | {"event": "INSERT"}
    await listener.subscribe(inserts, ITEMS | {"filter": "id=gt.5"}, ITEMS, inserts)

    await execute(
        session, ["insert into items values (1, 'a')", "update items set title = 'b', id = 9"]
    )
    await listener.heard(session)

    assert [ids for _, ids, _ in listener.delivered] == [[4, 3, 1], [3, 2]]


async def test_each_selection_of_columns_gets_a_message_of_its_own(
    listener: Listener, session: asyncpg.Connection
) -> None:
    await listener.subscribe(ITEMS | {"select": ["title"]}, ITEMS, ITEMS | {"select": ["owner", 7]})

    await session.execute("insert into items values (1, 'a', 'me')")
    await listener.heard(session)

    assert [(ids, data["record"]) for _, ids, data in listener.delivered] == [
        ([2], {"id": 1, "title": "a", "owner": "me"}),
        ([3], {"id": 1, "owner": "me"}),
        ([1], {"id": 1, "title": "a"}),
    ]
    columns = [column["name"] for column in listener.delivered[2][2]["columns"]]
    assert columns == ["id", "title"]


async def test_row_level_security_asks_with_the_claims_of_each_subscriber(
    listener: Listener, session: asyncpg.Connection
) -> None:
    await execute(
        session,
        [
            "alter table items enable row level security",
            "create policy own on items for select using"
            " (owner = current_setting('request.jwt.claims', true)::jsonb ->> 'sub')",
        ],
    )
    for name in ("ann", "bob"):
        await listener.subscribe(ITEMS, key=name, claims={"role": "authenticated", "sub": name})
    await listener.subscribe(ITEMS, key="service", claims={"role": "service_role"})

    await session.execute("insert into items values (1, 'a', 'ann'), (2, 'b', 'bob')")
    await listener.heard(session)

    seen = sorted((key, data["record"]["id"]) for key, _, data in listener.delivered)
    assert seen == [("ann", 1), ("bob", 2), ("service", 1), ("service", 2)]


async def test_a_key_kept_out_of_line_is_known_from_the_identity(
    listener: Listener, session: asyncpg.Connection
) -> None:
    await execute(
        session,
        [
            "create table files (path text, part int, note text, primary key (path, part))",
            "alter table files alter path set storage external",
            "alter table files enable row level security",
            "create policy all_seen on files for select using (true)",
            "alter publication supabase_realtime add table files",
        ],
    )
    await listener.subscribe(ITEMS | {"table": "files"})
    path = "p" * 2500

    await session.execute("insert into files values ($1, 1, 'a')", path)
    await session.execute("update files set note = 'b'")
    changes = await listener.heard(session)

    assert changes[-1]["record"] == {"path": path, "part": 1, "note": "b"}
    assert changes[-1]["old_record"] == {"path": path, "part": 1}


async def test_a_token_renewed_counts_from_the_next_change(
    listener: Listener, session: asyncpg.Connection
) -> None:
    await session.execute("revoke all on items from anon")
    await listener.subscribe(ITEMS, claims={"role": "authenticated"})
    await session.execute("insert into items values (1, 'a')")
    await listener.heard(session)
    await listener.subscribe(ITEMS, claims={"role": "anon"})
    await session.execute("insert into items values (2, 'b')")
    changes = await listener.heard(session)

    assert [change["errors"] for change in changes] == [None, ["Error 401: Unauthorized"]]


async def test_a_privilege_granted_or_revoked_counts_from_the_next_change(
    listener: Listener, session: asyncpg.Connection
) -> None:
    await listener.subscribe(ITEMS)
    await session.execute("insert into items values (1, 'a', 'me')")
    await session.execute("revoke select on items from authenticated")
    await session.execute("grant select (id, title) on items to authenticated")
    await session.execute("insert into items values (2, 'b', 'me')")
    changes = await listener.heard(session)

    assert changes[-1]["record"] == {"id": 2, "title": "b"}


async def test_the_columns_of_an_altered_table_are_seen(
    listener: Listener, session: asyncpg.Connection
) -> None:
    await listener.subscribe(ITEMS)
    await session.execute("insert into items values (1, 'a', 'me')")
    await execute(
        session,
        [
            "alter table items drop column owner",
            "alter table items add column price numeric(10, 2) default 1.5",
            "insert into items values (2, 'b', 12.50)",
        ],
    )
    changes = await listener.heard(session)

    assert str(changes[-1]["record"]["price"]) == "12.50"
    assert [column["type"] for column in changes[-1]["columns"]] == ["int4", "text", "numeric"]


async def test_a_refused_subscription_leaves_what_was_there(
    listener: Listener, session: asyncpg.Connection
) -> None:
    await listener.subscribe(ITEMS)

    with pytest.raises(SubscriptionRefused):
        await listener.subscribe(ITEMS, ITEMS | {"filter": "nope=eq.1"})
    await session.execute("insert into items values (1, 'a')")

    assert titles(await listener.heard(session)) == ["a"]


async def test_nothing_comes_after_unsubscribing(
    listener: Listener, session: asyncpg.Connection
) -> None:
    await listener.subscribe(ITEMS)
    await listener.subscribe(ITEMS, key="other")
    await listener.feed.unsubscribe("subscriber")
    await listener.feed.unsubscribe("never was there")

    await session.execute("insert into items values (1, 'a')")
    await listener.heard(session)

    assert [key for key, _, _ in listener.delivered] == ["other"]


async def test_many_rows_of_several_tables_keep_their_order(
    listener: Listener, session: asyncpg.Connection
) -> None:
    await execute(
        session,
        [
            "create table others (id int primary key, title text)",
            "alter publication supabase_realtime add table others",
        ],
    )
    await listener.subscribe({"event": "*", "schema": "public"})

    async with session.transaction():
        await session.executemany(
            "insert into items values ($1, $2)", [(n, str(2 * n)) for n in range(600)]
        )
    async with session.transaction():
        for n in range(600):
            await session.execute("update items set title = $2 where id = $1", n, f"{n}")
            await session.execute("insert into others values ($1, $2)", n, f"other {n}")
    changes = await listener.heard(session)

    expected = [str(2 * n) for n in range(600)]
    for n in range(600):
        expected += [str(n), f"other {n}"]
    assert titles(changes) == expected


async def test_a_message_sent_from_the_database_is_handed_over_once_committed(
    listener: Listener, session: asyncpg.Connection
) -> None:
    await execute(
        session,
        [
            "begin",
            "select realtime.send('{\"n\": 9007199254740993}', 'lost', 'room')",
            "rollback",
            "select realtime.send('{\"n\": 9007199254740993}', 'kept', 'room', false)",
            "insert into realtime.messages (topic, extension, event, binary_payload)"
            " values ('bytes', 'broadcast', null, '\\x00ff')",
        ],
    )
    await listener.heard(session)

    first, second = listener.messages
    assert (first["topic"], first["event"], first["private"]) == ("room", "kept", False)
    assert '"n": 9007199254740993' in first["payload"]
    assert (second["event"], second["payload"], second["binary_payload"]) == (None, None, b"\0\xff")


async def test_a_filter_that_fails_on_a_value_loses_that_batch_and_says_so(
    listener: Listener, session: asyncpg.Connection
) -> None:
    await session.execute("alter table items add column tags int[]")
    await listener.subscribe(ITEMS | {"filter": "tags=eq.{1}"}, key="bad")
    await listener.subscribe(ITEMS)

    with capture_logs() as said:
        await execute(
            session,
            [
                "insert into items (id, tags) values (1, '{1}')",
                "select realtime.send('{}', 'survives', 'room')",
            ],
        )
        await listener.heard(session)
    await listener.feed.unsubscribe("bad")
    await session.execute("insert into items (id, title) values (2, 'b')")
    changes = await listener.heard(session)

    lost = [line for line in said if line["event"] == "changes.lost"]
    assert [(line["sqlstate"], line["log_level"]) for line in lost] == [("22P02", "error")]
    assert "public.items" in lost[0]["tables"]
    assert [message["event"] for message in listener.messages] == ["survives"]
    assert titles(changes) == ["b"]


async def test_a_lost_connection_is_said_and_the_next_run_goes_on(
    session: asyncpg.Connection, database: FreshDatabase
) -> None:
    listener = Listener(database.admin_url)
    task = await started(listener.feed)
    await listener.subscribe(ITEMS)
    admin = await asyncpg.connect(database.admin_url)
    await admin.execute(
        "select pg_terminate_backend(active_pid) from pg_replication_slots"
        " where database = current_database()"
    )
    with pytest.raises(FeedLost):
        await task
    assert not listener.feed.ready.is_set()
    await session.execute("insert into items values (1, 'lost')")

    task = await started(listener.feed)
    await session.execute("insert into items values (2, 'seen')")
    changes = await listener.heard(session)
    task.cancel()
    await asyncio.wait([task])
    await admin.close()

    assert titles(changes) == ["seen"]


async def test_the_slot_advances_while_changes_keep_coming(
    listener: Listener, session: asyncpg.Connection
) -> None:
    await listener.subscribe(ITEMS)
    first = await session.fetchval("select pg_current_wal_lsn()::text")
    advanced = """
        with written as (insert into items values ($1) returning id)
        select confirmed_flush_lsn > $2::text::pg_lsn from pg_replication_slots, written
        where database = current_database()
    """

    # Never a pause in which a feed that only answers in silence would answer.
    for number in range(10_000):
        if await session.fetchval(advanced, number, first):
            break

    assert number < 9_999


async def test_a_cancelled_feed_leaves_no_slot_and_no_connection(
    session: asyncpg.Connection, database: FreshDatabase
) -> None:
    async with listening(database.admin_url) as listener:
        await listener.subscribe(ITEMS)
        await session.execute("insert into items values (1, 'a')")
        await listener.heard(session)

    # The server's processes end a moment after their sockets: this waits for the slot's.
    while await session.fetchval(
        "select count(*) from pg_replication_slots where database = current_database()"
    ):
        pass


async def test_a_feed_without_a_database_says_so(database: FreshDatabase) -> None:
    nowhere = database.admin_url.replace("/" + database.name, "/no_such_database")
    feed = ChangeFeed(nowhere, message_inserted=lambda row: None)

    with pytest.raises(FeedLost, match="does not exist"):
        await feed.run()


async def test_unknown_roles_and_bindings_are_refused_in_the_servers_words(
    listener: Listener,
) -> None:
    with pytest.raises(SubscriptionRefused) as refused:
        await listener.subscribe(ITEMS, claims={"role": "nobody"})
    assert refused.value.message.endswith(
        'Exception: ERROR 42704 (undefined_object) role "nobody" does not exist'
    )
    with pytest.raises(SubscriptionRefused) as refused:
        await listener.subscribe(ITEMS | {"select": ["title", "nope"]})
    assert 'select: ["title", "nope"]' in refused.value.message
    assert refused.value.message.endswith(
        "Exception: ERROR P0001 (raise_exception) invalid column for select nope"
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"event": "*"},
            "No subscription params provided. Please provide at least a `schema` or `table` to"
            ' subscribe to: %{"event" => "*"}',
        ),
        (
            ITEMS | {"table": "*", "select": ["id"]},
            "Column selection is not supported for wildcard subscriptions. Provide an explicit"
            " schema and table name.",
        ),
        (
            ITEMS | {"select": "id"},
            "Error parsing `select` params: expected a list of column name strings, e.g. select:"
            ' ["col1", "col2"]',
        ),
    ],
)
async def test_a_binding_that_makes_no_sense_is_refused_before_the_database_is_asked(
    params: dict[str, Any], message: str
) -> None:
    feed = ChangeFeed("postgresql://nowhere", message_inserted=lambda row: None)

    with pytest.raises(SubscriptionRefused) as refused:
        await feed.subscribe(
            "key", [Wanted.of(params, 1)], {"role": "anon"}, lambda ids, data: None
        )

    assert refused.value.message == message
