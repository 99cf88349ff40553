"""Which token do joins carry, and what when the server takes it no more?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Never, Protocol

import structlog

log = structlog.get_logger()


class Credentials(Protocol):
    """
    Whose token joins carry. The socket itself is always opened with the project's key.

    `missing` says why there is no token that the server would take.
    """

    @property
    def token(self) -> str | None:
        """What joins carry now; None: the key of the socket counts."""

    @property
    def missing(self) -> str | None: ...

    async def opened(self) -> None:
        """Return when there is a token, or none is needed."""

    def refused(self, token: str | None, reason: str) -> bool:
        """
        The server does not take this token any more: fetch its successor now.

        Returns whether there will be one: until then joining is no use.
        """

    def on_renewed(self, tell: Callable[[str | None], None]) -> None:
        """Call `tell` with each new token."""

    async def run(self) -> Never:
        """Keep the token fresh, for ever."""


class Key:
    """
    The project's key, with which every socket is opened. It has no successor.

    That it has expired is said once, and readiness goes on saying it. It is asked again at the
    pace of the link's backoff: the server's clock may be what is wrong.
    """

    def __init__(self, key: str) -> None:
        # A legacy key is a JWT and goes into joins, too; a `sb_…` key is exchanged by the gateway.
        self.token = None if key.startswith("sb_") else key
        self.missing: str | None = None

    def refused(self, reason: str) -> None:
        """The server does not take it; other reasons than its age are said with the refusal."""
        if "has expired" in reason and self.missing is None:
            self.missing = "SUPABASE_KEY has expired"
            log.error("key.expired")

    def accepted(self) -> None:
        """The server takes it."""
        self.missing = None


class KeyAlone:
    """Nobody is signed in: joins carry the key."""

    def __init__(self, key: Key) -> None:
        self._key = key

    @property
    def token(self) -> str | None:
        return self._key.token

    @property
    def missing(self) -> str | None:
        return self._key.missing

    async def opened(self) -> None:
        """Nothing to wait for."""

    def refused(self, token: str | None, reason: str) -> bool:
        """A token that is the key has no successor, and may be taken again."""
        self._key.refused(reason)
        return False

    def on_renewed(self, tell: Callable[[str | None], None]) -> None:
        """It never is."""

    async def run(self) -> Never:
        """Nothing to do."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError("unreachable: nobody completes it")
