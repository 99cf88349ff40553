"""What do all connections to one project share?"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg

from local import tokens
from local.realtime.acts import Struck
from local.realtime.changes import ChangeFeed
from local.realtime.faults import Faults
from local.realtime.limits import Rates
from local.realtime.presence import Presences
from local.realtime.settings import Settings, User
from local.realtime.topics import Topics

FRESH_KEY = 10 * 365 * 86_400.0  # seconds that the token behind an `sb_` key is good for


class Connected(Struck, Protocol):
    """A connection; `closed` is set when it is over."""

    closed: asyncio.Event

    def cut(self) -> None: ...


class Subscriber(Protocol):
    """The subscriptions of a channel. `lost` ones hear of nothing any more."""

    lost: bool

    def subscribe(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Session:
    """What a refresh token stands for; the token is spent when it is used."""

    user: User
    id: str


class Tenant:
    """
    One project, as the real server keeps it; `faults` may be thrown while it is served.

    It knows nothing of those who use it: whoever serves it brings the `feed` and the tasks.
    """

    feed: ChangeFeed
    _tasks: asyncio.TaskGroup

    def __init__(self, jwt_secret: str, settings: Settings, pool: asyncpg.Pool) -> None:
        self.settings = settings
        self.jwt_secret = jwt_secret
        self.pool = pool
        self.topics = Topics()
        self.presences = Presences()
        self.rates = Rates(settings.limits)
        self.connections: set[Connected] = set()
        self.subscribers: set[Subscriber] = set()
        self.sessions: dict[str, Session] = {}
        self.faults = Faults(self.connections)

    def read_token(self, token: str) -> tokens.Claims:
        """The claims of a token, or of the role an `sb_` key stands for. Raises TokenRefused."""
        claims = self.read_signed(token)
        if self.faults.token_expired is not None and token not in self.settings.api_keys:
            self.faults.token_expired.check(token, claims)
        return claims

    def read_signed(self, token: str) -> tokens.Claims:
        """As `read_token`, but for the fault by which good tokens count as expired."""
        if (role := self.settings.api_keys.get(token)) is not None:
            token = tokens.issue(self.jwt_secret, role, lifetime=FRESH_KEY)
        return tokens.read(token, self.jwt_secret)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something that may outlast a connection and ends with the server."""
        self._tasks.create_task(work)
