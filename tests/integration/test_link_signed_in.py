"""Does the link outlive its tokens, wherever they end?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.realtime.server import Server
from local.realtime.settings import DEMO_USER
from local.realtime.token_expired import Expired
from tests.support.databases import FreshDatabase
from tests.support.doorway import Doorway, doorway
from tests.support.logs import Log, logged
from tests.support.policies import admin, allow
from tests.support.sockets import served, token
from worker.auth import Account, SignedIn
from worker.event import Change
from worker.realtime.link import Link
from worker.realtime.timing import Timing
from worker.subscription import Binding, Subscription

from .scripted import QUICK, Ear, at_once, running

PUBLIC = "sb_publishable_x"
ROOM = Subscription("room", broadcast=True, private=True)
LEADS = Subscription("changes", (Binding("public", "leads"),))
OTHER_SECRET = "another-secret-of-the-tests-of-32-bytes-or-more"


@pytest.fixture
def log() -> Iterator[Log]:
    with logged() as said:
        yield said


@pytest.fixture
async def server(database: FreshDatabase) -> AsyncIterator[Server]:
    """A server on which only who is signed in may hear the room and the leads."""
    await allow(database, "select")
    async with admin(database) as connection:
        await connection.execute("create table leads (id bigint primary key)")
        await connection.execute("revoke all on leads from anon")
        await connection.execute("alter publication supabase_realtime add table leads")
    keys = {PUBLIC: "anon"}
    async with served(database, api_keys=keys, token_lifetime=2.0, token_check=0.1) as server:
        yield server


@pytest.fixture
async def auth(server: Server) -> AsyncIterator[Doorway]:
    """The way to the server's Auth; that to its Realtime is another."""
    async with doorway(urlsplit(server.url).port) as door:
        yield door


def user_of(door: Doorway, **differences: Any) -> SignedIn:
    url = f"http://127.0.0.1:{door.port}"
    account = Account(url=url, key=PUBLIC, email=DEMO_USER.email, password=DEMO_USER.password)
    return SignedIn(account, backoff=at_once, refused_pause=0.0, **differences)


def outliving(server: Server, door: Doorway) -> tuple[SignedIn, asyncio.Event]:
    """A user with a token every half second, and what is set when the first one is over."""
    server.settings = replace(server.settings, token_lifetime=3.0)
    user, over = user_of(door, served=lambda _: 0.5), asyncio.Event()
    numbers = count(1)
    user.on_renewed(lambda _: over.set() if next(numbers) == 8 else None)
    return user, over


def link_as(user: SignedIn | None, server: Server, ear: Ear, **differences: Any) -> Link:
    options: dict[str, Any] = {
        "url": server.url,
        "key": PUBLIC,
        "credentials": user,
        "subscriptions": [ROOM, LEADS],
        "listener": ear,
        "hidden_columns": frozenset({"password_hash"}),
        "timing": QUICK,
        "backoff": at_once,
    }
    return Link(**{**options, **differences})


async def all_closed(ear: Ear) -> None:
    """Both channels have their events again."""
    topics: set[str] = set()
    while topics != {"room", "changes"}:
        topics |= (await ear.next_gap()).topics


async def next_change(ear: Ear) -> Change:
    while not isinstance(event := await ear.next(), Change):
        pass
    return event


def about_token(line: Any) -> bool:
    return "oken" in line["reason"]


async def test_a_user_hears_what_the_key_alone_may_not(
    server: Server, auth: Doorway, database: FreshDatabase, log: Log
) -> None:
    ear = Ear()
    async with running(link_as(None, server, ear)):
        refused = await log.until("channel.refused", topic="room")
        assert refused["reason"].startswith("Unauthorized")
    ear = Ear()
    async with running(link_as(user_of(auth), server, ear)) as link:
        await all_closed(ear)
        assert link.ready and link.token_missing is None


async def test_channels_live_on_over_many_tokens_without_a_gap(
    server: Server, auth: Doorway, database: FreshDatabase, log: Log
) -> None:
    ear = Ear()
    user, over = outliving(server, auth)
    async with running(link_as(user, server, ear)), admin(database) as connection:
        await all_closed(ear)
        await over.wait()
        await connection.execute("insert into leads values (7)")
        await connection.execute("select realtime.send('{\"y\": 2}', 'sent', 'room', true)")
        heard = [await ear.next(), await ear.next()]

    assert {type(event).__name__ for event in heard} == {"Change", "Broadcast"}
    assert [reason for reason, _, _ in ear.opened] == ["start"]
    assert not log.said("channel.lost")


async def test_tokens_are_told_while_a_slow_handler_keeps_the_link_from_reading(
    server: Server, auth: Doorway, database: FreshDatabase, log: Log
) -> None:
    ear = Ear()
    user, over = outliving(server, auth)
    patient = Timing(heartbeat=20.0, silence=15.0, pace=0.0)  # no heartbeat takes them along
    link = link_as(user, server, ear, timing=patient)
    async with running(link), admin(database) as connection:
        await all_closed(ear)
        ear.listens.clear()
        await connection.execute("insert into leads select n from generate_series(1, 3000) n")
        await over.wait()
        ear.listens.set()
        heard = [await ear.next() for _ in range(3000)]
        assert link.ready

    assert [event.record["id"] for event in heard if isinstance(event, Change)] == [*range(1, 3001)]
    assert not log.said("channel.lost") and not log.said("connection.lost")
    # Several repeats of the subscription were read at once: more than one of them may be a gap.
    assert {reason for reason, _, _ in ear.opened} <= {"start", "subscribed again"}


async def test_a_token_over_while_joined_is_a_gap_until_auth_is_back(
    server: Server, auth: Doorway, log: Log
) -> None:
    ear = Ear()
    async with running(link_as(user_of(auth), server, ear)) as link:
        await all_closed(ear)
        await auth.shut()
        lost = await log.until("channel.lost", topic="room")
        assert lost["reason"].startswith("Token has expired")
        assert link.token_missing is not None and not link.ready
        await auth.open()
        await all_closed(ear)

        assert link.ready and link.token_missing is None
    assert len(log.said("connection.opened")) == 1, "the socket itself lives on"
    assert not any(line["reason"].startswith("InvalidJWT") for line in log.said("channel.lost")), (
        "nobody joined with the token that was over: each refusal holds up the socket"
    )


async def test_without_a_token_nobody_connects_and_nothing_is_joined_with_the_key(
    server: Server, auth: Doorway, log: Log
) -> None:
    ear = Ear()
    await auth.shut()
    async with running(link_as(user_of(auth), server, ear)) as link:
        await log.until("sign_in.failed")
        assert link.token_missing == "Auth gives no token: ConnectError"
        assert not log.said("connection.opened") and not server.connections
        await auth.open()
        await all_closed(ear)


async def test_a_token_over_during_a_reconnect_is_replaced_before_the_next_connection(
    server: Server, auth: Doorway, log: Log
) -> None:
    ear = Ear()
    async with running(link_as(user_of(auth), server, ear)) as link:
        await all_closed(ear)
        await auth.shut()
        await log.until("token.refused")
        server.hang_up(1012)
        await log.until("connection.lost")
        assert not link.connected
        tried = len(log.said("channel.lost"))
        await auth.open()
        await all_closed(ear)

        assert len(log.said("connection.opened")) == 2
        assert not any(about_token(line) for line in log.said("channel.lost")[tried:])


async def test_a_token_refused_at_the_join_is_replaced_and_joined_again(
    server: Server, auth: Doorway, log: Log
) -> None:
    """Auth's clock is behind Realtime's by more than a token lives."""
    good, server.settings = server.settings, replace(server.settings, token_age=100.0)
    ear = Ear()
    async with running(link_as(user_of(auth), server, ear)):
        refused = await log.until("channel.lost", topic="room")
        assert refused["reason"].startswith("InvalidJWTToken: Token has expired")
        server.settings = good
        await all_closed(ear)


async def test_a_new_token_that_is_refused_while_joined_is_replaced(
    server: Server, auth: Doorway, log: Log
) -> None:
    ear = Ear()
    async with running(link_as(user_of(auth), server, ear)):
        await all_closed(ear)
        good, server.settings = server.settings, replace(server.settings, token_age=100.0)
        lost = await log.until("channel.lost", topic="room")
        assert lost["reason"].startswith("Token has expired")
        server.settings = good
        await all_closed(ear)


async def test_a_user_gets_over_tokens_declared_expired(
    server: Server, auth: Doorway, log: Log
) -> None:
    ear = Ear()
    async with running(link_as(user_of(auth), server, ear)):
        await all_closed(ear)
        server.faults.token_expired = Expired()
        await all_closed(ear)

    assert len(log.said("connection.opened")) == 1
    assert not log.said("channel.isolated"), "the token tells nothing of a channel"


async def test_a_key_declared_expired_by_mistake_is_good_again_when_it_is_taken(
    server: Server, log: Log
) -> None:
    ear = Ear()
    legacy = {"key": token("service_role"), "timing": QUICK}
    async with running(link_as(None, server, ear, **legacy)) as link:
        await all_closed(ear)
        server.faults.token_expired = Expired()
        await log.until("key.expired")
        assert link.token_missing == "SUPABASE_KEY has expired"
        server.faults.token_expired = None
        await all_closed(ear)

        assert link.ready and link.token_missing is None
    assert len(log.said("key.expired")) == 1


async def test_a_rotated_secret_makes_tokens_be_fetched_anew(
    server: Server, auth: Doorway, log: Log
) -> None:
    server.settings = replace(server.settings, token_lifetime=3600.0)
    ear = Ear()
    async with running(link_as(user_of(auth), server, ear)):
        await all_closed(ear)
        server.jwt_secret = OTHER_SECRET
        server.hang_up(1012)
        refused = await log.until("token.refused")
        assert refused["reason"] == "JwtSignatureError: Failed to validate JWT signature"
        await all_closed(ear)


async def test_a_key_that_has_expired_is_said_once_and_clearly(
    server: Server, auth: Doorway, log: Log
) -> None:
    """It is what sockets are opened with, whoever is signed in; nothing can be put in its place."""
    for user in (None, user_of(auth)):
        log.lines.clear()
        waits: asyncio.Queue[float] = asyncio.Queue(maxsize=1)
        key = token("anon", lifetime=-1)
        link = link_as(user, server, Ear(), key=key, sleep=waits.put)
        async with running(link):
            for _ in range(3):
                await waits.get()

            assert link.token_missing == "SUPABASE_KEY has expired"
        assert len(log.said("key.expired")) == 1
        assert log.said("connection.refused")[0]["reason"] == "Token has expired"
        assert key not in repr(log.lines)


async def test_a_key_that_expires_while_joined_is_said_once_and_asked_again_with_backoff(
    server: Server, log: Log
) -> None:
    waits = iter([0.0, 0.0, 0.0, 3600.0, 3600.0])
    subscriptions = [Subscription("public", broadcast=True)]
    key = token("service_role", lifetime=2)
    link = link_as(None, server, Ear(), key=key, subscriptions=subscriptions, backoff=lambda: waits)
    async with running(link):
        await log.until("key.expired")

        assert link.token_missing == "SUPABASE_KEY has expired"
    assert len(log.said("key.expired")) == 1
