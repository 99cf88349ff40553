"""What does a borrower of connections see when Postgres is well, slow, gone or hung?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import asyncpg
import pytest

from local.postgres import SUPERUSER, Cluster
from tests.support.databases import FreshDatabase
from tests.support.doorway import doorway
from tests.support.servers import stopped
from worker.db import Database, current
from worker.errors import DatabaseAway

HANG = 20.0  # seconds after which a test is taken to hang; none comes near it


@pytest.fixture
async def pool(database: FreshDatabase) -> AsyncIterator[Database]:
    pool = Database(database.url, size=3, connect_timeout=5.0)
    async with pool.transaction() as connection:
        await connection.execute("create table kept (n int primary key)")
    yield pool
    await pool.close()


async def kept(pool: Database) -> list[int]:
    async with pool.connection() as connection:
        return [row["n"] for row in await connection.fetch("select n from kept order by n")]


async def test_a_transaction_is_kept_or_undone_as_a_whole(pool: Database) -> None:
    async with pool.transaction() as connection:
        await connection.execute("insert into kept values (1)")
    with pytest.raises(ZeroDivisionError):
        async with pool.transaction() as connection:
            await connection.execute("insert into kept values (2)")
            raise ZeroDivisionError

    assert await kept(pool) == [1]


async def test_a_wrong_statement_is_not_an_outage(pool: Database) -> None:
    with pytest.raises(asyncpg.UniqueViolationError):
        async with pool.transaction() as connection:
            await connection.execute("insert into kept values (1), (1)")

    assert await kept(pool) == []


async def test_a_neon_string_is_let_in(database: FreshDatabase) -> None:
    asked = "?sslmode=prefer&channel_binding=require&connect_timeout=10&options=-c%20work_mem%3D9MB"
    pool = Database(database.url + asked)
    try:
        async with pool.connection() as connection:
            assert await connection.fetchval("show work_mem") == "9MB"
            assert await connection.fetchval("show application_name") == "tidemark"
    finally:
        await pool.close()


async def test_connections_are_opened_when_asked_for(cluster: Cluster) -> None:
    async with doorway(cluster.port) as door:
        pool = Database(_through(cluster, door.port))
        assert not door.knocked.is_set()
        await pool.ping()
        assert door.knocked.is_set()
        await pool.close()


@pytest.mark.parametrize(
    "statement",
    [
        "select pg_terminate_backend(pg_backend_pid())",
        "do $$ begin raise exception sqlstate '57P01'; end $$",
        "do $$ begin raise exception sqlstate '57P02'; end $$",
        "do $$ begin raise exception sqlstate '57P03'; end $$",
        "do $$ begin raise exception sqlstate '53300'; end $$",
        "do $$ begin raise exception sqlstate '08006'; end $$",
    ],
)
async def test_what_an_outage_says_is_told_as_one(pool: Database, statement: str) -> None:
    with pytest.raises(DatabaseAway):
        async with pool.transaction() as connection:
            await connection.execute(statement)

    assert await kept(pool) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda url: url.replace(urlsplit(url).password, "hunter2"), "authentication failed"),
        (lambda url: url + "_missing", "does not exist"),
        (lambda url: f"{url}?sslmode=require", "does not speak TLS: sslmode=disable"),
        (lambda _: "postgres://me:hunter2@127.0.0.1:1/d", "Connect call failed"),
        (lambda _: "postgres://me:hunter2@host.invalid/d", "not known|resolution"),
    ],
)
async def test_no_way_in_is_an_outage_without_secrets(
    database: FreshDatabase, change: Callable[[str], str], reason: str
) -> None:
    pool = Database(change(database.url))

    with pytest.raises(DatabaseAway, match=reason) as caught:
        await pool.ping(timeout=HANG)

    await pool.close()
    assert "hunter2" not in str(caught.value)
    assert (urlsplit(database.url).password or "?") not in str(caught.value)


async def test_a_pool_with_nothing_left_says_so(database: FreshDatabase) -> None:
    pool = Database(database.url, size=1, connect_timeout=0.2)
    async with pool.connection():
        with pytest.raises(DatabaseAway, match="all 1 connections were busy"):
            async with pool.connection():
                pass
    await pool.ping()
    await pool.close()


async def test_it_comes_back_by_itself_after_an_outage(cluster: Cluster) -> None:
    async with doorway(cluster.port) as door:
        pool = Database(_through(cluster, door.port))
        await pool.ping()
        await door.shut()
        with pytest.raises(DatabaseAway):
            await pool.ping()
        await door.open()
        await pool.ping()
        await pool.close()


async def test_a_goodbye_between_two_statements_is_an_outage(cluster: Cluster) -> None:
    async with doorway(cluster.port) as door:
        door.hides_ends = True  # the end of the stream comes after the goodbye, at times much later
        pool, direct = Database(_through(cluster, door.port)), Database(cluster.url(role=SUPERUSER))
        with pytest.raises(DatabaseAway, match="the server ended the session"):
            async with pool.transaction() as connection, direct.connection() as other:
                pid = await connection.fetchval("select pg_backend_pid()")
                await other.fetchval("select pg_terminate_backend($1, 5000)", pid)
                await door.ended.wait()
                await other.fetchval("select 1")  # by then the goodbye was read
                await connection.execute("select 1")
        await pool.ping()
        await pool.close()
        await direct.close()


async def test_a_hung_server_is_noticed_in_time(own_cluster: Cluster) -> None:
    pool = Database(own_cluster.url(role=SUPERUSER), size=2, connect_timeout=0.3)
    await pool.ping()
    with stopped(own_cluster):
        with pytest.raises(DatabaseAway, match=r"no answer within 0\.2 s"):
            await pool.ping(timeout=0.2)  # over the connection there is
        with pytest.raises(DatabaseAway, match=r"no connection within 0\.3 s"):
            await pool.ping(timeout=HANG)  # over a new one
    await pool.ping()
    await pool.close()


async def test_a_statement_without_an_answer_is_an_outage(own_cluster: Cluster) -> None:
    pool = Database(own_cluster.url(role=SUPERUSER), query_timeout=0.2)
    with pytest.raises(DatabaseAway, match="no answer to a statement in time"):
        async with pool.transaction() as connection:
            with stopped(own_cluster):
                await connection.execute("select 1")
    await pool.ping()
    await pool.close()


async def test_a_cancelled_borrower_is_let_go_of_while_the_server_hangs(
    own_cluster: Cluster,
) -> None:
    pool, inside = Database(own_cluster.url(role=SUPERUSER)), asyncio.Event()

    async def borrow() -> None:
        async with pool.transaction() as connection:
            inside.set()
            await connection.execute("select pg_sleep(3600)")

    borrower = asyncio.create_task(borrow())
    await inside.wait()
    with stopped(own_cluster):
        borrower.cancel()
        async with asyncio.timeout(HANG):
            with pytest.raises(asyncio.CancelledError):  # and not an error of the tidying up
                await borrower
    await pool.close()


async def test_closing_cuts_what_does_not_come_back(own_cluster: Cluster) -> None:
    pool, inside = Database(own_cluster.url(role=SUPERUSER)), asyncio.Event()

    async def borrow() -> None:
        async with pool.connection() as connection:
            inside.set()
            await connection.execute("select pg_sleep(3600)")

    borrower = asyncio.create_task(borrow())
    await inside.wait()
    async with asyncio.timeout(HANG):
        await pool.close(timeout=0.1)
        with pytest.raises(DatabaseAway):
            await borrower
    with pytest.raises(DatabaseAway, match="closed"):
        await pool.ping()


async def test_a_deadlock_is_tried_again(pool: Database) -> None:
    """Each of two transactions locks its own row, then the other's, once both have the first."""
    async with pool.transaction() as connection:
        await connection.execute("insert into kept values (1), (2)")
    both, runs = asyncio.Barrier(2), 0

    async def update(first: int, second: int) -> None:
        met = False

        async def work(connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
            nonlocal runs, met
            runs += 1
            await connection.execute("update kept set n = n where n = $1", first)
            if not met:
                met = True
                await both.wait()
            await connection.execute("update kept set n = n where n = $1", second)

        await pool.attempt(work)

    await asyncio.gather(update(1, 2), update(2, 1))

    assert runs == 3


async def test_a_constraint_is_not_tried_again(pool: Database) -> None:
    runs = 0

    async def work(connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record]) -> None:
        nonlocal runs
        runs += 1
        await connection.execute("insert into kept values (1), (1)")

    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.attempt(work)

    assert runs == 1


async def test_the_bound_database_is_the_current_one(pool: Database) -> None:
    with pytest.raises(LookupError, match="with database"):
        current()
    with pool.bind():
        assert await asyncio.create_task(_current()) is pool
    with pytest.raises(LookupError):
        current()


async def _current() -> Database:
    return current()


def _through(cluster: Cluster, port: int) -> str:
    return cluster.url().replace(f":{cluster.port}/", f":{port}/")
