"""Are the effects of a batch written once, in order, and without the guilty ones?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.database import prepare
from local.postgres import SUPERUSER, Cluster
from worker.cache import Caches, Recall
from worker.db import Connection, Database
from worker.db.migrate import default_directory, migrate
from worker.effects import Batch, DeadLetter, Effects
from worker.errors import DatabaseAway
from worker.event import Broadcast, Change
from worker.unit import UnitOfWork

NUL = "a\0b"  # what jsonb refuses, SQLSTATE 22P05


def change(kind: Any = "INSERT", row: dict[str, Any] | None = None, **more: Any) -> Change:
    row = {"id": str(uuid4()), "status": "new"} if row is None else row
    record, old = ({}, row) if kind == "DELETE" else (row, {})
    return Change(
        id=uuid4(), schema="public", name="leads", kind=kind, record=record, old=old, **more
    )


def asking(event: Change | Broadcast, handler: str = "audit.write") -> Effects:
    return Effects(event, handler)


def audited(event: Change) -> Effects:
    do = asking(event)
    do.audit(event)
    return do


async def rows(connection: asyncpg.Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(query)]


async def test_audit_rows_stand_in_the_order_of_the_events(
    pool: Database, connection: asyncpg.Connection
) -> None:
    row = {"id": "7b0c6c1e-7d5e-4c0b-9a0e-2b1f6c2d9e57", "status": "new"}
    events = [
        change("INSERT", row, committed_at="2026-11-22T14:03:11.482Z"),
        change("UPDATE", {**row, "status": "won"}),
        change("DELETE", {**row, "status": "won"}),
    ]
    await UnitOfWork(pool, Caches()).commit(Batch([audited(event) for event in events]))

    written = await connection.fetch("select * from audit_logs order by seq")
    assert [row["event_id"] for row in written] == [event.id for event in events]
    assert [row["action"] for row in written] == ["INSERT", "UPDATE", "DELETE"]
    assert {(row["table_schema"], row["table_name"]) for row in written} == {("public", "leads")}
    assert {row["record_id"] for row in written} == {UUID(row["id"])}
    assert [row["new_data"] is None for row in written] == [False, False, True]
    assert [row["old_data"] is None for row in written] == [True, True, False]
    assert written[0]["committed_at"].isoformat() == "2026-11-22T14:03:11.482000+00:00"


async def test_the_same_batch_again_writes_nothing_twice(
    pool: Database, connection: asyncpg.Connection
) -> None:
    do = audited(change())
    do.notify("agent", "a1", "lead-moved", lead=1)
    unit = UnitOfWork(pool, Caches())
    await unit.commit(Batch([do]))
    await unit.commit(Batch([do, do]))

    assert await rows(connection, "select count(*) from audit_logs") == [(1,)]
    assert await rows(
        connection, "select audience, recipient, kind, data->>'lead' from tidemark.outbox"
    ) == [("agent", "a1", "lead-moved", "1")]


@pytest.mark.parametrize("poisoned", [False, True])
async def test_a_commit_whose_answer_was_lost_is_not_applied_again(
    pool: Database, connection: asyncpg.Connection, poisoned: bool
) -> None:
    event = change()
    counting, writing = asking(event, "a.count"), asking(event, "c.write")
    counting.count("leads")
    writing.execute("insert into agents (name) values ('once')")
    asked = [counting, audited(event), writing]
    if poisoned:
        asked.append(audited(change(row={"id": 1, "text": NUL})))
    unit = UnitOfWork(pool, Caches())
    await unit.commit(Batch(asked))
    await unit.commit(Batch([*asked, audited(change())]))

    assert await rows(connection, "select value from tidemark.counters") == [(1,)]
    assert await rows(connection, "select count(*) from agents") == [(1,)]
    assert await rows(connection, "select count(*) from audit_logs") == [(2,)]


async def test_counters_add_up_and_statements_run_in_order(
    pool: Database, connection: asyncpg.Connection
) -> None:
    first, second = asking(change()), asking(change())
    first.count("leads", source="web", city="x")
    first.execute("insert into agents (name) values ($1)", "first")
    second.count("leads", 2, city="x", source="web")
    second.count("leads", source="phone")
    second.execute("update agents set name = name || $1", " and second")
    unit = UnitOfWork(pool, Caches())
    await unit.commit(Batch([first, second]))
    again = asking(change())
    again.count("leads", 10, source="phone")
    await unit.commit(Batch([again]))

    assert await rows(
        connection, "select labels->>'source', value from tidemark.counters order by value"
    ) == [("web", 3), ("phone", 11)]
    assert await rows(connection, "select name from agents") == [("first and second",)]


async def test_a_row_without_a_uuid_has_a_record_id_that_lasts(
    pool: Database, connection: asyncpg.Connection
) -> None:
    unit = UnitOfWork(pool, Caches())
    for status in ("new", "won"):
        await unit.commit(Batch([audited(change("UPDATE", {"id": 5, "status": status}))]))
    by_two = asking(event := change("INSERT", {"a": 1, "b": "x", "c": None}))
    by_two.audit(event, key=("a", "b"))
    nameless = audited(change("UPDATE", {"status": "new"}))
    await unit.commit(Batch([by_two, nameless]))

    found = await rows(connection, "select record_id, record_key from audit_logs order by seq")
    assert found[0] == found[1] and found[0][1] == '{"id": 5}'
    assert found[2][1] == '{"a": 1, "b": "x"}'
    assert found[3][1] is None
    assert len({record_id for record_id, _ in found}) == 3


async def test_hidden_columns_reach_neither_the_audit_nor_a_dead_letter(
    pool: Database, connection: asyncpg.Connection
) -> None:
    event = change("UPDATE", {"id": str(uuid4()), "password_hash": "x"})
    unit = UnitOfWork(pool, Caches(), hidden_columns=["password_hash"])
    await unit.commit(Batch([audited(event)], [DeadLetter(event, "h", "why", 1)]))

    assert await rows(connection, "select new_data ? 'password_hash' from audit_logs") == [(False,)]
    kept = "select event->'record' ? 'password_hash', event->'record' ? 'id'"
    assert await rows(connection, f"{kept} from tidemark.dead_letters") == [(False, True)]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(poisoned=st.sets(st.integers(0, 12), max_size=5), how=st.sampled_from(["value", "sql"]))
async def test_only_the_guilty_are_given_up(
    poisoned: set[int], how: str, pool: Database, connection: asyncpg.Connection
) -> None:
    await connection.execute("truncate audit_logs, tidemark.dead_letters")
    asked = [audited(change("INSERT", {"id": str(uuid4()), "n": n})) for n in range(13)]
    for n in poisoned:
        if how == "value":
            asked[n].notify("agent", "a", "x", text=NUL)
        else:
            asked[n].execute("insert into nowhere values ($1)", n)
    await UnitOfWork(pool, Caches()).commit(Batch(asked))

    written = await rows(connection, "select (new_data->>'n')::int from audit_logs order by seq")
    assert [n for (n,) in written] == [n for n in range(13) if n not in poisoned]
    dead = await rows(
        connection,
        "select handler, (event->'record'->>'n')::int, attempts from tidemark.dead_letters",
    )
    assert sorted(dead) == [("audit.write", n, 1) for n in sorted(poisoned)]


async def test_a_statement_that_never_ends_is_given_up(
    pool: Database, connection: asyncpg.Connection
) -> None:
    slow = audited(change())
    slow.execute("select pg_sleep(60)")
    unit = UnitOfWork(pool, Caches(), statement_timeout=0.05)
    await unit.commit(Batch([slow, audited(change())]))

    assert await rows(connection, "select count(*) from audit_logs") == [(1,)]
    ((reason,),) = await rows(connection, "select reason from tidemark.dead_letters")
    assert reason.startswith("QueryCanceledError 57014: ")


async def test_a_frozen_unit_lets_go_of_what_it_locked(pool: Database) -> None:
    ended = asyncio.Event()

    async def freeze(connection: Connection) -> None:
        connection.add_termination_listener(lambda _: ended.set())
        await ended.wait()  # until the server ends the session

    unit = UnitOfWork(pool, Caches(), idle_timeout=0.05)
    async with asyncio.timeout(10):
        with pytest.raises(DatabaseAway):
            await unit.commit(Batch([audited(change())]), freeze)


async def test_a_deferred_constraint_is_blamed_on_its_own_event(
    pool: Database, connection: asyncpg.Connection
) -> None:
    await connection.execute("create table late (id int unique deferrable initially deferred)")
    asked = [asking(change()) for _ in range(3)]
    for do, value in zip(asked, (1, 1, 2), strict=True):
        do.execute("insert into late values ($1)", value)
    await UnitOfWork(pool, Caches()).commit(Batch(asked))

    assert await rows(connection, "select id from late order by id") == [(1,), (2,)]
    assert await rows(connection, "select count(*) from tidemark.dead_letters") == [(1,)]


async def test_what_cannot_be_json_or_names_no_cache_is_given_up(
    pool: Database, connection: asyncpg.Connection
) -> None:
    surrogate, nameless = audited(change()), audited(change())
    surrogate.notify("agent", "a", "x", text="\ud800")
    nameless.drop("nothing", 1)
    await UnitOfWork(pool, Caches()).commit(Batch([surrogate, nameless, audited(change())]))

    assert await rows(connection, "select count(*) from audit_logs") == [(1,)]
    assert await rows(connection, "select count(*) from tidemark.dead_letters") == [(2,)]


class Stubborn:
    """Nobody gets a text from it."""

    def __str__(self) -> str:
        raise RuntimeError


HALF = "\ud800"  # of a surrogate pair

# Of `Any` and not of `Effects`: some have the wrong types, as an untyped handler may.
IMPOSSIBLE: list[Callable[[Any], object]] = [
    lambda do: do.audit("no change"),
    lambda do: do.audit(do.event, None),
    lambda do: do.notify("agent", HALF, "x"),
    lambda do: do.notify("agent", NUL, "x"),
    lambda do: do.notify("agent", Stubborn(), "x"),
    lambda do: do.notify(5, "a", "x"),
    lambda do: do.notify("agent", "a", "x", n=2**65),
    lambda do: do.notify("agent", "a", "x", text=Stubborn()),
    lambda do: do.count("n", 2**63),
    lambda do: do.count("n", "5"),
    lambda do: do.count("n", 1.5),
    lambda do: do.count("n", kind=NUL),
    lambda do: do.put("nothing", 1, 1),
    lambda do: do.asked.append("no effect"),
    lambda do: do.execute(None),
    lambda do: do.execute(f"select '{HALF}'"),
    lambda do: do.execute(f"select '{NUL}'"),
    lambda do: do.execute("select $1::text", HALF),
    lambda do: do.execute("select $1::int", 2**65),
    lambda do: do.execute("select $1::int"),
    lambda do: do.execute("select 1; select 2"),
    lambda do: do.execute("vacuum"),
    lambda do: do.execute("select currval('tidemark.outbox_seq_seq')"),
    lambda do: do.execute("rollback"),
    lambda do: do.execute("/* now */ -- really\n Commit"),
    lambda do: do.execute("set role anon"),
    lambda do: do.execute("copy agents from stdin"),
]


@pytest.mark.parametrize("ask", IMPOSSIBLE)
async def test_what_cannot_be_done_is_given_up_and_the_rest_is_done(
    ask: Callable[[Effects], object], pool: Database, connection: asyncpg.Connection
) -> None:
    asked = [audited(change()), asking(change(), "b.bad"), audited(change())]
    ask(asked[1])
    unit = UnitOfWork(pool, Caches())
    async with asyncio.timeout(20):
        await unit.commit(Batch(asked))
        await unit.commit(Batch([audited(change())]))  # over the same connection

    assert await rows(connection, "select count(*) from audit_logs") == [(3,)]
    assert await rows(connection, "select handler from tidemark.dead_letters") == [("b.bad",)]


async def test_any_words_of_a_handler_can_be_kept(
    pool: Database, connection: asyncpg.Connection
) -> None:
    letter = DeadLetter(change(), "a.bad", f"ValueError: {HALF}{NUL}", 3)
    await UnitOfWork(pool, Caches()).commit(Batch([], [letter]))

    assert await rows(connection, "select reason from tidemark.dead_letters") == [
        ("ValueError: ?a\N{REPLACEMENT CHARACTER}b",)
    ]


async def test_a_poisoned_event_itself_can_be_kept(
    pool: Database, connection: asyncpg.Connection
) -> None:
    bell = Broadcast(id=uuid4(), topic="office", event="bell", payload={"text": NUL, "raw": b"x"})
    letter = DeadLetter(bell, "bells.ring", f"Reject: {NUL}", 3)
    unit = UnitOfWork(pool, Caches())
    await unit.commit(Batch([], [letter]))
    await unit.commit(Batch([], [letter]))

    assert await rows(
        connection,
        "select event_id, handler, lane, attempts, event->'payload'->>'raw'"
        " from tidemark.dead_letters",
    ) == [(bell.id, "bells.ring", "live", 3, "eA==")]


async def test_nothing_is_written_when_what_comes_first_fails(
    pool: Database, connection: asyncpg.Connection
) -> None:
    class Lost(Exception):
        """Another worker has moved the cursor."""

    async def lose(connection: Connection) -> None:
        assert await connection.fetchval("select count(*) from audit_logs") == 0
        raise Lost

    with pytest.raises(Lost):
        await UnitOfWork(pool, Caches()).commit(Batch([audited(change())]), first=lose)

    assert await rows(connection, "select count(*) from audit_logs") == [(0,)]


async def test_caches_hear_of_it_before_the_commit_and_again_after_it(pool: Database) -> None:
    held: list[Any] = []

    async def load(key: str) -> str | None:
        return "read before the commit"

    cache: Recall[str, str] = Recall("lead", load=load, tables=("public.leads",))

    async def while_it_is_open(connection: Connection) -> None:
        held.append(cache.peek("put"))
        held.append(await cache.get("dropped"))

    do = asking(change())
    do.put("lead", "put", "new")
    do.drop("lead", "dropped")
    await UnitOfWork(pool, Caches([cache])).commit(Batch([do]), first=while_it_is_open)

    assert held == ["new", "read before the commit"]
    assert cache.peek("put") == "new"
    assert cache.peek("dropped") is None


async def test_only_a_unit_with_notifications_wakes_the_delivery(pool: Database) -> None:
    woken = 0

    def wake() -> None:
        nonlocal woken
        woken += 1

    unit = UnitOfWork(pool, Caches(), committed=wake)
    await unit.commit(Batch([audited(change())]))
    assert woken == 0
    telling = audited(change())
    telling.notify("agent", "a", "x")
    await unit.commit(Batch([telling]))
    assert woken == 1


async def test_missing_tables_are_nobodys_fault(
    pool: Database, connection: asyncpg.Connection
) -> None:
    await connection.execute("alter table audit_logs rename to elsewhere")
    unit = UnitOfWork(pool, Caches())
    batch = Batch([audited(change())])
    with pytest.raises(DatabaseAway, match="refuses: UndefinedTableError 42P01"):
        await unit.commit(batch)
    await connection.execute("alter table elsewhere rename to audit_logs")
    await unit.commit(batch)

    assert await rows(connection, "select count(*) from audit_logs") == [(1,)]
    assert await rows(connection, "select count(*) from tidemark.dead_letters") == [(0,)]


async def test_deadlocks_are_tried_again(pool: Database, connection: asyncpg.Connection) -> None:
    """Two units that add to the same two counters in opposite order, many times over."""
    unit = UnitOfWork(pool, Caches())

    def batch(*names: str) -> Batch:
        do = asking(change())
        for name in names:
            do.count(name)
        return Batch([do])

    await asyncio.gather(*[unit.commit(batch(*names)) for names in [("a", "b"), ("b", "a")] * 20])

    assert await rows(connection, "select name, value from tidemark.counters order by name") == [
        ("a", 40),
        ("b", 40),
    ]


async def test_an_outage_is_not_the_events_fault_and_passes(tmp_path: Path) -> None:
    batch = Batch([audited(change()), audited(change())])
    with Cluster.running(tmp_path, durable=False) as cluster:
        await prepare(cluster.url(role=SUPERUSER))
        await migrate(cluster.url(), default_directory())
        database = Database(cluster.url(), size=2, connect_timeout=2.0)
        unit = UnitOfWork(database, Caches())
        await unit.commit(batch)
    with pytest.raises(DatabaseAway):
        await unit.commit(batch)

    more = Batch([*batch.asked, audited(change())])
    with Cluster.running(tmp_path, durable=False, choose_port=lambda last: last):
        await unit.commit(more)
        async with database.connection() as connection:
            assert await connection.fetchval("select count(*) from audit_logs") == 3
            assert await connection.fetchval("select count(*) from tidemark.dead_letters") == 0
        await database.close()
