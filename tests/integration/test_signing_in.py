"""Does a signed-in user stay signed in, whatever Auth does?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import structlog
from aiohttp import web

from local import tokens
from local.realtime.server import Server
from local.realtime.settings import DEMO_USER
from tests.support.databases import FreshDatabase
from tests.support.doorway import doorway
from tests.support.sockets import SECRET, served, token
from worker.auth import Account, SignedIn
from worker.auth.signed_in import REFUSED_PAUSE
from worker.auth.signed_in import served as served_seconds

HANG_SECONDS = 20.0


def at_once() -> Iterator[float]:
    return (0.0 for _ in count())


def account(url: str, **differences: Any) -> Account:
    who = {"email": DEMO_USER.email, "password": DEMO_USER.password}
    return Account(**{"url": url, "key": token("anon"), **who, **differences})


class Told:
    """The tokens that were told, one after the other."""

    def __init__(self, user: SignedIn) -> None:
        self._told: asyncio.Queue[str | None] = asyncio.Queue()
        user.on_renewed(self._told.put_nowait)

    async def next(self) -> str:
        told = await self._told.get()
        assert told is not None
        return told


class Pauses:
    """A sleep that lasts until the test has asked how long the one before was to be."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[float] = asyncio.Queue(maxsize=1)

    async def __call__(self, seconds: float) -> None:
        await self.asked.put(seconds)


@contextlib.asynccontextmanager
async def staying(user: SignedIn) -> AsyncIterator[Told]:
    """Stay signed in beside the test."""
    told = Told(user)
    task = asyncio.create_task(user.run())
    try:
        yield told
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


def said(lines: list[Any], event: str) -> list[Any]:
    return [line for line in lines if line["event"] == event]


def claims(of: str) -> tokens.Claims:
    return tokens.read(of, SECRET)


async def test_a_user_signs_in_and_the_token_is_theirs(realtime: Server, lines: list[Any]) -> None:
    user = SignedIn(account(realtime.url))
    assert (user.token, user.missing) == (None, "nobody is signed in yet")
    async with staying(user) as told:
        await user.opened()

        assert user.token == await told.next()
        assert claims(user.token)["sub"] == str(DEMO_USER.id)
        assert user.missing is None
    assert DEMO_USER.password not in repr(lines) and user.token not in repr(lines)
    assert said(lines, "user.signed_in") == [
        {"event": "user.signed_in", "log_level": "info", "lifetime": 3600}
    ]


async def test_each_token_gets_a_successor_before_it_is_over(database: FreshDatabase) -> None:
    async with served(database, token_lifetime=2.0) as server:
        user = SignedIn(account(server.url))
        async with staying(user) as told:
            given = [claims(await told.next()) for _ in range(3)]

    assert len({claim["session_id"] for claim in given}) == 1, "refreshed, not signed in anew"
    assert len({claim["jti"] for claim in given}) == 3


def test_a_margin_is_kept_for_an_auth_that_is_away() -> None:
    assert served_seconds(3601) == 3300
    assert served_seconds(101) == 75
    assert served_seconds(0.1) == 0.5, "never at full speed"


async def test_a_lost_refresh_token_means_signing_in_anew(
    realtime: Server, lines: list[Any]
) -> None:
    user = SignedIn(account(realtime.url), backoff=at_once)
    async with staying(user) as told:
        first = await told.next()
        realtime.sessions.clear()
        user.refused(first, "Token has expired 0 seconds ago")
        second = await told.next()

    assert claims(first)["session_id"] != claims(second)["session_id"]
    (refused,) = said(lines, "refresh.refused")
    assert refused["reason"] == "refresh_token_not_found (HTTP 400)"


@contextlib.asynccontextmanager
async def swallowing(url: str) -> AsyncIterator[str]:
    """A way to a server on which the answer to the first refresh is lost."""
    lost: list[str] = []

    async def pass_on(request: web.Request) -> web.Response:
        async with httpx.AsyncClient(trust_env=False) as http:
            body = await request.read()
            answer = await http.post(f"{url}{request.path_qs}", content=body)
        if "refresh_token" in request.path_qs and not lost and request.transport is not None:
            lost.append(request.path_qs)
            request.transport.close()
        return web.Response(
            body=answer.content, status=answer.status_code, content_type="application/json"
        )

    app = web.Application()
    app.router.add_post("/{anything:.*}", pass_on)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_refresh_whose_answer_is_lost_ends_in_signing_in_anew(
    realtime: Server, lines: list[Any]
) -> None:
    """The refresh token was spent, and nobody here knows its successor."""
    async with swallowing(realtime.url) as url:
        user = SignedIn(account(url), backoff=at_once)
        async with staying(user) as told:
            first = await told.next()
            user.refused(first, "Token has expired")
            second = await told.next()

    assert claims(first)["session_id"] != claims(second)["session_id"]
    assert [line["event"] for line in lines if line["log_level"] != "debug"] == [
        "user.signed_in",
        "token.refused",
        "sign_in.failed",
        "refresh.refused",
        "user.signed_in",
    ]


async def test_a_token_the_server_calls_expired_is_replaced_once(realtime: Server) -> None:
    pauses = Pauses()
    user = SignedIn(account(realtime.url), backoff=at_once, sleep=pauses)
    async with staying(user) as told:
        first = await told.next()
        user.refused(first, "Token has expired 0 seconds ago")
        assert user.missing == "Realtime does not take the user's token"
        await pauses.asked.get()
        second = await told.next()
        assert user.missing is None

        assert not user.refused(first, "Token has expired 0 seconds ago")
        assert user.missing is None, "news of a token that has a successor are old"
        async with staying(SignedIn(account(realtime.url))) as another:
            await another.next()
        assert pauses.asked.empty(), "one refusal, one successor"
    assert claims(first)["session_id"] == claims(second)["session_id"]


async def test_a_server_that_calls_every_new_token_expired_is_not_hammered(
    realtime: Server,
) -> None:
    """Its clock is ahead of Auth's by more than a token lives."""
    pauses = Pauses()
    user = SignedIn(account(realtime.url), backoff=lambda: iter([1.0, 2.0, 4.0]), sleep=pauses)

    def refuse(token: str | None) -> None:
        assert user.refused(token, "Token has expired"), "there will be a successor"

    user.on_renewed(refuse)
    async with staying(user):
        waited = [await pauses.asked.get() for _ in range(3)]

    assert waited == [1.0, 2.0, 4.0]


async def test_tokens_that_are_over_already_are_not_asked_for_at_full_speed(
    database: FreshDatabase,
) -> None:
    pauses = Pauses()
    async with served(database, token_lifetime=0.0) as server:
        user = SignedIn(account(server.url), backoff=lambda: iter([1.0, 2.0, 4.0]), sleep=pauses)
        async with staying(user):
            assert [await pauses.asked.get() for _ in range(2)] == [1.0, 2.0]

            assert user.missing == "Auth gives no token: a token that is over already"
            assert user.token is None


async def test_auth_may_come_later(realtime: Server, lines: list[Any]) -> None:
    pauses = Pauses()
    async with doorway(urlsplit(realtime.url).port) as door:
        await door.shut()
        user = SignedIn(account(f"http://127.0.0.1:{door.port}"), sleep=pauses)
        async with staying(user):
            await pauses.asked.get()
            assert user.missing == "Auth gives no token: ConnectError"
            assert user.token is None
            await door.open()
            await user.opened()

    failed = said(lines, "sign_in.failed")
    assert failed[0]["reason"] == "ConnectError"
    assert user.token is not None


async def test_a_token_serves_on_while_auth_is_away_and_not_beyond_its_end(
    database: FreshDatabase,
) -> None:
    async with (
        served(database, token_lifetime=1.0) as server,
        doorway(urlsplit(server.url).port) as door,
    ):
        pauses = Pauses()
        user = SignedIn(account(f"http://127.0.0.1:{door.port}"), sleep=pauses)
        async with staying(user) as told:
            first = await told.next()
            await door.shut()
            await pauses.asked.get()
            assert (user.token, user.missing) == (first, None)
            async with asyncio.timeout(HANG_SECONDS):  # a busy loop swallows pytest's own
                while user.missing is None:
                    await pauses.asked.get()
            assert user.token == first, "what joins carry is never the key's"
            await door.open()
            await user.opened()
            assert user.token != first and user.missing is None


async def test_a_wrong_password_is_said_and_asked_again_seldom(
    realtime: Server, lines: list[Any]
) -> None:
    pauses = Pauses()
    wrong = account(realtime.url, password="hunter2")
    user = SignedIn(wrong, sleep=pauses)
    async with staying(user):
        assert await pauses.asked.get() >= REFUSED_PAUSE

        assert user.missing == "Auth gives no token: invalid_credentials (HTTP 400)"
    refused = said(lines, "sign_in.refused")[0]
    assert (refused["log_level"], refused["reason"]) == ("error", "invalid_credentials (HTTP 400)")
    assert "hunter2" not in repr(lines) and DEMO_USER.email not in repr(lines)


async def test_signing_in_stops_at_once_while_auth_hangs(realtime: Server) -> None:
    async with doorway(urlsplit(realtime.url).port) as door:
        door.freeze()
        user = SignedIn(account(f"http://127.0.0.1:{door.port}"))
        async with staying(user):
            await door.knocked.wait()
            leaving = asyncio.get_running_loop().time()

        assert asyncio.get_running_loop().time() - leaving < 1.0


async def test_the_client_keeps_no_timer_of_its_own(realtime: Server) -> None:
    async with staying(SignedIn(account(realtime.url))) as told:
        await told.next()

        running = [getattr(task.get_coro(), "cr_code", None) for task in asyncio.all_tasks()]
        assert not any(code and "supabase_auth" in code.co_filename for code in running)


NOT_A_SESSION = (
    '{"id": "x", "app_metadata": {}, "user_metadata": {}, "aud": "", "created_at": "%s"}'
)
ANSWERS = {
    "a page of the network's": ("200 OK", "<html>hunter2</html>"),
    "a gateway's": ("502 Bad Gateway", "<html>hunter2</html>"),
    "somebody else's address": ("404 Not Found", "<html>hunter2</html>"),
    "elsewhere": ("307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/hunter2", ""),
    "too much": ("429 Too Many Requests", '{"code": 429, "msg": "hunter2"}'),
    "a crash": ("500 Internal Server Error", '{"msg": "hunter2"}'),
    "a wrong key": ("401 Unauthorized", '{"message": "Invalid API key hunter2"}'),
    "a user who is to confirm": ("200 OK", NOT_A_SESSION % "2026-01-01T00:00:00Z"),
    "nothing": ("200 OK", ""),
    "a list": ("200 OK", "[]"),
}
EXPECTED = {
    "a page of the network's": "an answer that makes no sense: ValidationError",
    "a gateway's": "HTTP 502",
    "somebody else's address": "HTTP 404",
    "elsewhere": "HTTP 307",
    "too much": "HTTP 429",
    "a crash": "HTTP 500",
    "a wrong key": "HTTP 401",
    "a user who is to confirm": "a user without a session",
    "nothing": "an answer that makes no sense: ValidationError",
    "a list": "an answer that makes no sense: ValidationError",
}
REFUSALS = {"somebody else's address", "a wrong key", "a user who is to confirm"}


@contextlib.asynccontextmanager
async def answering(status: str, body: str) -> AsyncIterator[str]:
    """A web server that says the same to everybody."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            length = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(f"HTTP/1.1 {status}\r\n{length}{body}".encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("kind", ANSWERS)
async def test_an_answer_that_is_no_session_is_named_without_its_words(
    kind: str, lines: list[Any]
) -> None:
    pauses = Pauses()
    async with answering(*ANSWERS[kind]) as url:
        user = SignedIn(account(url), backoff=lambda: iter([1.0, 1.0]), sleep=pauses)
        async with staying(user):
            wait = await pauses.asked.get()

            assert user.missing == f"Auth gives no token: {EXPECTED[kind]}"
    assert (wait > REFUSED_PAUSE) is (kind in REFUSALS)
    assert "hunter2" not in repr(lines)
