"""Do the official Python clients get along with the local server?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from realtime import AsyncRealtimeClient, RealtimeSubscribeStates
from realtime.types import RealtimePostgresChangesListenEvent
from supabase import AsyncClient, AsyncClientOptions, PostgrestAPIError, acreate_client
from supabase_auth.errors import AuthApiError
from supabase_auth.types import SignInWithEmailAndPasswordCredentials

from local.realtime.server import Server
from local.realtime.settings import DEMO_USER
from tests.support.databases import FreshDatabase
from tests.support.policies import admin, allow
from tests.support.python_client import PRIVATE, subscribed
from tests.support.sockets import client, token

EVERY = RealtimePostgresChangesListenEvent.All
SIGN_IN: SignInWithEmailAndPasswordCredentials = {
    "email": DEMO_USER.email,
    "password": DEMO_USER.password,
}


async def test_broadcasts_go_both_ways_between_the_versions(
    realtime: Server, official: AsyncRealtimeClient
) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()
    channel = official.channel("room")
    channel.on_broadcast("cursor", heard.put_nowait)
    await subscribed(channel)
    async with client(realtime) as other:
        await other.join("realtime:room")
        await channel.send_broadcast("cursor", {"from": "python"})
        said = await other.hear()
        reply = {"type": "broadcast", "event": "cursor", "payload": {"from": "us"}}
        await other.push("realtime:room", "broadcast", reply)
        answered = await heard.get()

    assert said.payload["payload"] == {"from": "python"}
    assert answered["payload"] == {"from": "us"}


async def test_changes_arrive_with_every_operation(
    database: FreshDatabase, official: AsyncRealtimeClient
) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    async with admin(database) as connection:
        await connection.execute("create table leads (id int primary key, status text)")
        await connection.execute("alter table leads replica identity full")
        await connection.execute("alter publication supabase_realtime add table leads")
        channel = official.channel("room")
        channel.on_postgres_changes(EVERY, heard.put_nowait, table="leads", schema="public")
        channel.on_system(said.put_nowait)
        await subscribed(channel)
        await said.get()
        await connection.execute("insert into leads values (1, 'new')")
        await connection.execute("update leads set status = 'won'")
        await connection.execute("delete from leads")
        changes = [(await heard.get())["data"] for _ in range(3)]

    assert [change["type"] for change in changes] == ["INSERT", "UPDATE", "DELETE"]
    assert changes[1]["record"] == {"id": 1, "status": "won"}
    assert changes[1]["old_record"] == {"id": 1, "status": "new"}


async def test_presence_is_synchronised(realtime: Server, official: AsyncRealtimeClient) -> None:
    came: asyncio.Queue[Any] = asyncio.Queue()
    channel = official.channel("room")
    channel.on_presence_join(lambda key, current, new: came.put_nowait((key, new)))
    await subscribed(channel)
    await channel.track({"typing": True})
    own = await came.get()
    async with client(realtime) as other:
        await other.join("realtime:room", presence={"key": "other", "enabled": True})
        state = await other.hear()
        await other.push("realtime:room", "presence", {"event": "track", "payload": {"n": 1}})
        key, (new,) = await came.get()

    assert own[1][0]["typing"] is True
    assert list(state.payload) == [own[0]]
    assert (key, new["n"]) == ("other", 1)
    assert set(channel.presence_state()) == {own[0], "other"}


async def test_a_broadcast_over_http_arrives(
    realtime: Server, official: AsyncRealtimeClient
) -> None:
    async with client(realtime, "1.0.0") as one, client(realtime) as two:
        await one.join("realtime:room one", private=True)
        await two.join("realtime:room one", private=True)
        channel = official.channel("room one", {"config": PRIVATE})
        await channel.http_send("moved", {"x": 1})
        await channel.http_send("raw", b"\x00\xff")
        text, json_bytes, raw = await one.hear(), await two.hear_bytes(), await two.hear_bytes()

    assert text.payload == {"type": "broadcast", "event": "moved", "payload": {"x": 1}}
    assert json_bytes.endswith(b'moved{"x":1}')
    assert raw.endswith(b"raw\x00\xff")


async def test_messages_from_the_database_are_replayed_and_then_live(
    database: FreshDatabase, official: AsyncRealtimeClient
) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    async with admin(database) as connection:
        await connection.execute("select realtime.send('{\"n\": 1}', 'moved', 'room')")
        replay = {"replay": {"since": 1}, "replication_ready": True}
        channel = official.channel("room", {"config": PRIVATE | {"broadcast": replay}})
        channel.on_broadcast("*", heard.put_nowait)
        channel.on_system(said.put_nowait)
        await subscribed(channel)
        await said.get()
        await connection.execute("select realtime.send('{\"n\": 2}', 'moved', 'room')")
        first, second = await heard.get(), await heard.get()

    assert (first["payload"]["n"], first["meta"]["replayed"]) == (1, True)
    assert (second["payload"]["n"], second["meta"].keys()) == (2, {"id"})


async def test_a_refused_join_and_a_fatal_message_are_understood(
    official: AsyncRealtimeClient,
) -> None:
    states: asyncio.Queue[Any] = asyncio.Queue()
    channel = official.channel("room")
    await channel.subscribe(lambda state, error: states.put_nowait(state))
    await official.set_auth("nonsense")
    after = [await states.get() for _ in range(3)]

    assert after == [
        RealtimeSubscribeStates.SUBSCRIBED,
        RealtimeSubscribeStates.CHANNEL_ERROR,
        RealtimeSubscribeStates.CLOSED,
    ]


async def test_leaving_leaves(realtime: Server, official: AsyncRealtimeClient) -> None:
    states: asyncio.Queue[Any] = asyncio.Queue()
    channel = official.channel("room")
    await channel.subscribe(lambda state, error: states.put_nowait(state))
    await channel.unsubscribe()

    assert [await states.get(), await states.get()][-1] == RealtimeSubscribeStates.CLOSED


# The whole client


@asynccontextmanager
async def supabase_client(server: Server) -> AsyncIterator[AsyncClient]:
    # It makes HTTP clients anew when somebody signs in and closes none: so it is given ours.
    async with httpx.AsyncClient(trust_env=False) as http:
        options = AsyncClientOptions(httpx_client=http)
        one = await acreate_client(server.url, token("anon"), options)
        try:
            yield one
        finally:
            await one.remove_all_channels()
            await one.auth.close()


async def test_a_user_signs_in_refreshes_and_calls_functions(
    realtime: Server, database: FreshDatabase
) -> None:
    async with admin(database) as connection:
        await connection.execute(
            "create function whoami() returns text language sql as "
            "$$ select current_setting('request.jwt.claims')::jsonb ->> 'email' $$"
        )
    async with supabase_client(realtime) as supabase:
        signed_in = await supabase.auth.sign_in_with_password(SIGN_IN)
        refreshed = await supabase.auth.refresh_session()
        me = await supabase.auth.get_user()
        answer = await supabase.rpc("whoami").execute()

        assert signed_in.session and refreshed.session and me
        assert signed_in.session.access_token != refreshed.session.access_token
        assert me.user.email == DEMO_USER.email
        assert answer.data == DEMO_USER.email
        await supabase.auth.sign_out()
        with pytest.raises(PostgrestAPIError) as error:
            await supabase.rpc("unknown", {"a": 1}).execute()
        assert error.value.code == "PGRST202"


async def test_a_wrong_password_is_the_error_the_client_knows(realtime: Server) -> None:
    async with supabase_client(realtime) as supabase:
        with pytest.raises(AuthApiError) as error:
            await supabase.auth.sign_in_with_password({**SIGN_IN, "password": "guess"})

    assert error.value.code == "invalid_credentials"


async def test_a_signed_in_user_joins_what_its_policies_allow(
    realtime: Server, database: FreshDatabase
) -> None:
    await allow(database, "select", "(select auth.uid()) is not null")
    async with supabase_client(realtime) as supabase:
        await supabase.auth.sign_in_with_password(SIGN_IN)
        await subscribed(supabase.channel("room", {"config": PRIVATE}))
