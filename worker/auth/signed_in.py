"""Whose token do joins carry, and when is the next one fetched?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Never

import structlog

from .. import metrics
from ..backoff import waits
from ..errors import AuthAway, SignInRefused
from .account import Account, Grant

log = structlog.get_logger()

# What is kept of a token's lifetime for fetching the next one while Auth is away for a while.
SHARE = 0.25
MOST_MARGIN = 300.0  # seconds; Realtime looks at a token every 5 minutes
LEAST_LIFE = 0.5  # seconds before the next is fetched, however short-lived tokens are
# Wrong credentials do not mend themselves: a ban ends, an address gets confirmed.
REFUSED_PAUSE = 60.0

Tell = Callable[[str | None], None]


def served(lifetime: float) -> float:
    """Return after how many seconds of a token's lifetime its successor is fetched."""
    sure = lifetime - 1  # its `exp` is in whole seconds, counted from a second already begun
    return max(sure - min(sure * SHARE, MOST_MARGIN), LEAST_LIFE)


class SignedIn:
    """
    A user who stays signed in: `token` is theirs and gets a successor before it is over.

    A new sign-in takes the place of a refresh token that Auth does not take any more. All times
    are the event loop's: a clock that differs from the server's does no harm, and a machine that
    slept is put right by `refused`.
    """

    def __init__(
        self,
        account: Account,
        *,
        backoff: Callable[[], Iterator[float]] = waits,
        refused_pause: float = REFUSED_PAUSE,
        served: Callable[[float], float] = served,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.token: str | None = None
        self.missing: str | None = "nobody is signed in yet"
        self._account = account
        self._backoff = backoff
        self._refused_pause = refused_pause
        self._served = served
        self._sleep = sleep
        self._refresh_token: str | None = None
        self._over_at = 0.0
        self._usable = asyncio.Event()
        self._wanted = asyncio.Event()
        self._listeners: list[Tell] = []

    async def opened(self) -> None:
        """Return when there is a token that is not known to be over."""
        await self._usable.wait()

    def refused(self, token: str | None, reason: str) -> bool:
        """
        The server does not take this token any more: fetch the next one now.

        Returns False for one that has a successor already: that is old news.
        """
        if token is None or token != self.token:
            return False
        if not self._wanted.is_set():
            log.warning("token.refused", reason=reason[:200])
            self._lose("Realtime does not take the user's token")
            self._wanted.set()
        return True

    def on_renewed(self, tell: Tell) -> None:
        """Call `tell` with each new token."""
        self._listeners.append(tell)

    async def run(self) -> Never:
        """Sign in and stay signed in, for ever."""
        pauses = self._backoff()
        async with self._account.opened():
            while True:
                try:
                    grant = await self._next_grant()
                except (AuthAway, SignInRefused) as error:
                    await self._wait_to_try_again(error, pauses)
                    continue
                self._take(grant)
                if await self._is_served_out(grant):
                    pauses = self._backoff()
                else:
                    # A server whose clock is far ahead refuses each new token, too.
                    await self._sleep(next(pauses))

    async def _next_grant(self) -> Grant:
        if self._refresh_token is not None:
            try:
                return await self._account.refresh(self._refresh_token)
            except SignInRefused as refused:
                self._refresh_token = None
                log.warning("refresh.refused", reason=str(refused))
        grant = await self._account.sign_in()
        log.info("user.signed_in", lifetime=grant.lifetime)
        return grant

    def _take(self, grant: Grant) -> None:
        self.token, self._refresh_token = grant.token, grant.refresh_token
        self._over_at = grant.asked_at + grant.lifetime
        self.missing = None
        self._wanted.clear()
        self._usable.set()
        metrics.tokens_renewed.inc()
        log.debug("token.renewed", lifetime=grant.lifetime)
        for tell in self._listeners:
            tell(grant.token)

    async def _is_served_out(self, grant: Grant) -> bool:
        """Wait until a successor is due; False when the server wants one before that."""
        try:
            async with asyncio.timeout_at(grant.asked_at + self._served(grant.lifetime)):
                await self._wanted.wait()
        except TimeoutError:
            return True
        return False

    async def _wait_to_try_again(
        self, error: AuthAway | SignInRefused, pauses: Iterator[float]
    ) -> None:
        reason, wait = str(error), next(pauses)
        if isinstance(error, SignInRefused):
            wait += self._refused_pause
            log.error("sign_in.refused", reason=reason, wait=round(wait, 2))
        else:
            log.warning("sign_in.failed", reason=reason, wait=round(wait, 2))
        metrics.tokens_missed.inc()
        if self.token is None or asyncio.get_running_loop().time() >= self._over_at:
            self._lose(f"Auth gives no token: {reason}")
        await self._sleep(wait)

    def _lose(self, why: str) -> None:
        self.missing = why
        self._usable.clear()
