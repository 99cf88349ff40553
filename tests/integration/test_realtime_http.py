"""Does the little of REST, Auth and RPC that clients need answer as theirs does?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from local import tokens
from local.realtime.server import Server
from local.realtime.settings import DEMO_USER
from tests.support.databases import FreshDatabase
from tests.support.policies import admin, allow
from tests.support.sockets import SECRET, client, served, token

ROOM = "realtime:room"
GOOD = {"topic": "room", "event": "e", "payload": {"x": 1}}
SIGN_IN = {"email": DEMO_USER.email, "password": DEMO_USER.password}


@pytest_asyncio.fixture
async def http(realtime: Server) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the service role."""
    headers = {"Authorization": f"Bearer {token()}"}
    async with httpx.AsyncClient(
        base_url=realtime.url, headers=headers, trust_env=False
    ) as connected:
        yield connected


@pytest.mark.parametrize("prefix", ["/realtime/v1", ""])
async def test_a_batch_is_accepted_and_told_as_text(
    realtime: Server, http: httpx.AsyncClient, prefix: str
) -> None:
    async with client(realtime) as one, client(realtime) as private:
        await one.join(ROOM)
        await private.join(ROOM, private=True)
        secret = {**GOOD, "event": "secret", "private": True}
        numbered = {**GOOD, "id": "7"}
        answer = await http.post(
            f"{prefix}/api/broadcast", json={"messages": [secret, GOOD, numbered]}
        )
        heard = [await one.hear(), await one.hear(), await private.hear()]

        told = {"type": "broadcast", "event": "e", "payload": {"x": 1}}
        assert (answer.status_code, answer.content) == (202, b"")
        assert [h.payload for h in heard] == [
            told,
            {**told, "meta": {"id": "7"}},
            {**told, "event": "secret"},
        ]
        assert (await one.beat()).ref == "beat"


async def test_a_private_message_that_may_not_be_written_is_left_out_and_still_202(
    realtime: Server, http: httpx.AsyncClient, database: FreshDatabase
) -> None:
    await allow(database, "insert", "realtime.topic() = 'room'")
    async with client(realtime) as one, client(realtime) as other:
        await one.join(ROOM, private=True)
        await other.join("realtime:other", private=True)
        messages = [{**GOOD, "topic": t, "private": True} for t in ("other", "room")]
        answer = await http.post(
            "/realtime/v1/api/broadcast",
            json={"messages": messages},
            headers={"Authorization": f"Bearer {token('authenticated')}"},
        )

        assert answer.status_code == 202
        assert (await one.hear()).payload["event"] == "e"
        assert (await other.beat()).ref == "beat"


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, ["can't be blank"]),
        ({"messages": []}, ["can't be blank"]),
        ({"messages": "x"}, ["is invalid"]),
        ({"messages": [{"event": "e", "payload": {}}]}, [{"topic": ["can't be blank"]}]),
        ({"messages": [GOOD, {**GOOD, "payload": [1]}]}, [{}, {"payload": ["is invalid"]}]),
    ],
)
async def test_a_batch_that_is_wrong_says_what_is_wrong(
    http: httpx.AsyncClient, body: object, errors: object
) -> None:
    answer = await http.post("/realtime/v1/api/broadcast", json=body)

    assert (answer.status_code, answer.json()) == (422, {"errors": {"messages": errors}})


async def test_without_a_valid_token_it_is_401(realtime: Server) -> None:
    expired = {"apikey": tokens.issue(SECRET, "anon", lifetime=-1)}
    async with httpx.AsyncClient(base_url=realtime.url, trust_env=False) as http:
        for headers in ({}, expired):
            for path in ("/api/broadcast", "/api/broadcast/room/events/e"):
                answer = await http.post(path, json={"messages": [GOOD]}, headers=headers)

                assert answer.status_code == 401
                assert answer.json() == {"message": "Unauthorized"}


@pytest.mark.parametrize(
    ("content", "kind", "is_json", "told"),
    [
        (b'{"x": 1}', "application/json", 1, b'{"x":1}'),
        (b"[1]", "application/json", 1, b'{"_json":[1]}'),
        (b"\x00\xff", "application/octet-stream", 0, b"\x00\xff"),
    ],
)
async def test_a_single_message_is_told_as_kind_4(
    realtime: Server,
    http: httpx.AsyncClient,
    content: bytes,
    kind: str,
    is_json: int,
    told: bytes,
) -> None:
    async with client(realtime) as one:
        await one.join("realtime:a/b")
        answer = await http.post(
            "/realtime/v1/api/broadcast/a%2Fb/events/e%20v",
            content=content,
            headers={"Content-Type": kind},
        )
        heard = await one.hear_bytes()

    assert (answer.status_code, answer.content) == (202, b"")
    assert heard == bytes([4, 12, 3, 0, is_json]) + b"realtime:a/b" + b"e v" + told


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [(b"{", "application/json", 400), (b"x", "text/plain", 415)],
)
async def test_a_single_message_that_cannot_be_read_is_refused(
    http: httpx.AsyncClient, content: bytes, kind: str, status: int
) -> None:
    path = "/realtime/v1/api/broadcast/room/events/e"
    answer = await http.post(path, content=content, headers={"Content-Type": kind})

    assert answer.status_code == status


async def test_a_single_private_message_that_may_not_be_written_is_403(
    http: httpx.AsyncClient,
) -> None:
    answer = await http.post(
        "/realtime/v1/api/broadcast/room/events/e?private=true",
        json={},
        headers={"Authorization": f"Bearer {token('anon')}"},
    )

    assert (answer.status_code, answer.json()) == (403, {"message": "Unauthorized"})


async def test_too_big_a_message_is_422(database: FreshDatabase) -> None:
    big = {"x": "y" * 1000}
    async with (
        served(database, max_payload=1000) as server,
        httpx.AsyncClient(
            base_url=server.url, headers={"apikey": token()}, trust_env=False
        ) as http,
    ):
        single = await http.post("/api/broadcast/room/events/e", json=big)
        batch = await http.post("/api/broadcast", json={"messages": [{**GOOD, "payload": big}]})

    errors = {"payload": ["Payload size exceeds tenant limit"]}
    assert (single.status_code, single.json()) == (422, {"errors": errors})
    assert (batch.status_code, batch.json()) == (422, {"errors": {"messages": [errors]}})


async def test_ping_is_200(http: httpx.AsyncClient) -> None:
    assert (await http.get("/realtime/v1/api/ping")).status_code == 200


# Signing in


async def sign_in(http: httpx.AsyncClient, grant: str, **body: str) -> httpx.Response:
    return await http.post(f"/auth/v1/token?grant_type={grant}", json=body)


async def test_a_user_signs_in_and_gets_a_token_of_its_own(http: httpx.AsyncClient) -> None:
    session = (await sign_in(http, "password", **SIGN_IN)).json()

    claims = tokens.read(session["access_token"], SECRET)
    assert (claims["role"], claims["sub"]) == ("authenticated", str(DEMO_USER.id))
    assert session["user"]["email"] == DEMO_USER.email
    assert session["expires_in"] == 3600


@pytest.mark.parametrize("wrong", [{"password": "guess"}, {"email": "who@example.com"}])
async def test_a_wrong_password_does_not_sign_in(
    http: httpx.AsyncClient, wrong: dict[str, str]
) -> None:
    answer = await sign_in(http, "password", **(SIGN_IN | wrong))

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_credentials")


async def test_a_refresh_token_is_good_for_one_refresh(http: httpx.AsyncClient) -> None:
    session = (await sign_in(http, "password", **SIGN_IN)).json()
    spent = session["refresh_token"]
    fresh = (await sign_in(http, "refresh_token", refresh_token=spent)).json()
    again = await sign_in(http, "refresh_token", refresh_token=spent)

    assert fresh["access_token"] != session["access_token"]
    assert fresh["refresh_token"] != spent
    assert (again.status_code, again.json()["code"]) == (400, "refresh_token_not_found")


async def test_signing_out_spends_the_refresh_tokens(http: httpx.AsyncClient) -> None:
    session = (await sign_in(http, "password", **SIGN_IN)).json()
    bearer = {"Authorization": f"Bearer {session['access_token']}"}
    who = await http.get("/auth/v1/user", headers=bearer)
    out = await http.post("/auth/v1/logout", headers=bearer)
    again = await sign_in(http, "refresh_token", refresh_token=session["refresh_token"])

    assert who.json()["id"] == str(DEMO_USER.id)
    assert (out.status_code, again.status_code) == (204, 400)


# Functions

FUNCTIONS = """
    create function add(a int, b int default 5) returns int language sql as 'select a + b';
    create function people() returns table (id bigint, name text)
        language sql as $$ values (1::bigint, 'Ann'), (2, null) $$;
    create function person(id int) returns record
        language sql as $$ select 1 as n, 'x' as t $$;
    create function nothing() returns void language sql as '';
    create function whoami() returns jsonb language sql as
        $$ select jsonb_build_object('role', current_user,
               'sub', current_setting('request.jwt.claims')::jsonb ->> 'sub') $$;
    create function tagged(tags text[], extra jsonb) returns jsonb language sql as
        $$ select jsonb_build_object('tags', tags, 'extra', extra) $$;
    create function fails() returns int language plpgsql as
        $$ begin raise exception 'no way' using detail = 'because', hint = 'do not',
               errcode = 'P0001'; end $$;
    create function secret() returns int language sql as 'select 1';
    revoke all on function secret() from public, anon, authenticated, service_role;
"""


@pytest_asyncio.fixture
async def functions(database: FreshDatabase) -> None:
    async with admin(database) as connection:
        await connection.execute(FUNCTIONS)


@pytest.mark.usefixtures("functions")
@pytest.mark.parametrize(
    ("name", "arguments", "result"),
    [
        ("add", {"a": 1}, 6),
        ("add", {"b": 2, "a": "40"}, 42),
        ("people", {}, [{"id": 1, "name": "Ann"}, {"id": 2, "name": None}]),
        ("whoami", {}, {"role": "service_role", "sub": None}),
        ("tagged", {"tags": ["a", "b"], "extra": {"x": [1]}}, None),
    ],
)
async def test_a_function_is_called_as_the_role_of_the_token(
    http: httpx.AsyncClient, name: str, arguments: dict[str, Any], result: object
) -> None:
    answer = await http.post(f"/rest/v1/rpc/{name}", json=arguments)

    assert answer.status_code == 200, answer.text
    assert answer.json() == (arguments if result is None else result)


@pytest.mark.usefixtures("functions")
async def test_the_claims_are_those_of_the_user(http: httpx.AsyncClient) -> None:
    headers = {"Authorization": f"Bearer {token('authenticated', sub='7')}"}
    answer = await http.post("/rest/v1/rpc/whoami", headers=headers)

    assert answer.json() == {"role": "authenticated", "sub": "7"}


@pytest.mark.usefixtures("functions")
async def test_a_function_of_nothing_is_204(http: httpx.AsyncClient) -> None:
    answer = await http.post("/rest/v1/rpc/nothing", json={})

    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.usefixtures("functions")
@pytest.mark.parametrize(
    ("name", "role", "status", "code"),
    [
        ("fails", "service_role", 400, "P0001"),
        ("secret", "authenticated", 403, "42501"),
        ("secret", "anon", 401, "42501"),
        ("unknown", "service_role", 404, "PGRST202"),
        ("add", "service_role", 404, "PGRST202"),
    ],
)
async def test_an_error_is_told_as_postgrest_tells_it(
    http: httpx.AsyncClient, name: str, role: str, status: int, code: str
) -> None:
    headers = {"Authorization": f"Bearer {token(role)}"}
    answer = await http.post(f"/rest/v1/rpc/{name}", json={}, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json().keys() == {"code", "message", "details", "hint"}


@pytest.mark.usefixtures("functions")
async def test_a_raised_error_keeps_its_words(http: httpx.AsyncClient) -> None:
    answer = await http.post("/rest/v1/rpc/fails", json={})

    assert answer.json() == {
        "code": "P0001",
        "message": "no way",
        "details": "because",
        "hint": "do not",
    }
