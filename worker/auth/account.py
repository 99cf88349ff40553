"""What does Supabase Auth give for a password or a refresh token?"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from ..errors import AuthAway, SignInRefused

if TYPE_CHECKING:
    from supabase_auth import AsyncGoTrueClient
    from supabase_auth.types import AuthResponse, SignInWithPasswordCredentials

ANSWER_TIMEOUT = 10.0  # seconds for a whole answer, however slowly its bytes come

_LOCAL = ("127.0.0.1", "localhost", "::1")
_TRANSIENT = (408, 425, 429)  # and 5xx: what was asked may be right all the same


@dataclass(frozen=True, slots=True)
class Grant:
    """
    What Auth gave. A refresh token is spent when it is used: each grant brings the next one.

    `lifetime` is in seconds and counts from the asking, so no clock is compared with the server's.
    """

    token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    lifetime: float
    asked_at: float  # the event loop's clock


class Account:
    """
    A user's way to Auth; to be used within `opened`.

    The official client only sends and reads. It would refresh by itself, with a timer that gives
    up after ten attempts and tells nobody, and store the session: both are turned off.
    """

    def __init__(self, *, url: str, key: str, email: str, password: str) -> None:
        self._url = url
        self._key = key
        self._email = email
        self._password = password
        self._auth: AsyncGoTrueClient | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Keep an HTTP client open for the time of the block."""
        # Importing it takes 0.4 s, which only a worker that signs in should pay, and no loop.
        library: Any = await asyncio.to_thread(importlib.import_module, "supabase_auth")
        is_local = urlsplit(self._url).hostname in _LOCAL
        # A password that follows a redirect may end up anywhere.
        async with httpx.AsyncClient(
            follow_redirects=False, timeout=ANSWER_TIMEOUT, trust_env=not is_local
        ) as http:
            self._auth = library.AsyncGoTrueClient(
                url=f"{self._url.rstrip('/')}/auth/v1",
                headers={"apikey": self._key, "Authorization": f"Bearer {self._key}"},
                auto_refresh_token=False,
                persist_session=False,
                http_client=http,
            )
            try:
                yield
            finally:
                self._auth = None

    async def sign_in(self) -> Grant:
        """Sign in with the password. Raises AuthAway, SignInRefused."""
        who: SignInWithPasswordCredentials = {"email": self._email, "password": self._password}
        return await _granted(self._open().sign_in_with_password(who))

    async def refresh(self, refresh_token: str) -> Grant:
        """
        Spend the refresh token for the next grant. Raises AuthAway, SignInRefused.

        After AuthAway nobody knows whether it was spent: an answer may have been lost.
        """
        return await _granted(self._open().refresh_session(refresh_token))

    def _open(self) -> AsyncGoTrueClient:
        assert self._auth is not None, "used outside `opened`"
        return self._auth


async def _granted(asked: Awaitable[AuthResponse]) -> Grant:
    from supabase_auth.errors import AuthError

    asked_at = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            session = (await asked).session
    except TimeoutError:
        raise AuthAway(f"no answer within {ANSWER_TIMEOUT:g} s") from None
    except AuthError as error:
        raise _ours(error) from None
    except (ValidationError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
        raise AuthAway(f"an answer that makes no sense: {type(error).__name__}") from None
    if session is None:
        raise SignInRefused("a user without a session")
    if session.expires_in <= 0:
        raise AuthAway("a token that is over already")
    return Grant(session.access_token, session.refresh_token, session.expires_in, asked_at)


def _ours(error: Exception) -> AuthAway | SignInRefused:
    """
    Name an error of Auth by its code and status only: what a server says may hold anything.

    The status is the client's or, where it could not read the answer, that of the cause.
    """
    cause = error.__cause__
    status = getattr(error, "status", 0)
    if isinstance(cause, httpx.HTTPStatusError):
        status = cause.response.status_code
    elif cause is not None:
        return AuthAway(type(cause).__name__)
    code = getattr(error, "code", None)
    said = f"{code} (HTTP {status})" if code else f"HTTP {status}"
    is_refusal = 400 <= status < 500 and status not in _TRANSIENT
    return SignInRefused(said) if is_refusal else AuthAway(said)
