"""How long does the server wait, and how much does it take?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from local.realtime.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who can sign in with a password. `role` becomes the role of the token."""

    email: str
    password: str = field(repr=False)
    id: UUID
    role: str = "authenticated"


DEMO_USER = User(
    email="demo@example.com",
    password="demo-password",
    id=UUID("11111111-1111-4111-8111-111111111111"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    Every default is what the real server does, but the rate limits, which are off: `limits.REAL`
    are its own. Times in seconds, sizes in bytes. `local up --set` takes the names from here.
    """

    handshake_error_delay: float = 2.0  # a refused handshake is answered so late
    join_error_delay: float = 5.0  # a refused join holds up the whole socket so long
    subscribed_delay: tuple[float, float] = (1.0, 3.0)  # join or new token → changes flow
    subscribe_again_delay: tuple[float, float] = (5.0, 10.0)  # after an error that may pass
    publication_check: float = 60.0  # whether other tables are published: all subscribe again
    idle_timeout: float = 60.0  # without a byte from the client: close 1000
    no_channel_timeout: float = 600.0  # who has joined nothing when it is looked is cut
    token_check: float = 300.0  # a token is looked at so often, and when it expires
    replication_ready_timeout: float = 60.0
    send_timeout: float = 30.0  # one frame that a client does not read: its connection is cut
    close_timeout: float = 1.0  # how long to wait for the client's goodbye

    max_frame: int = 5_000_000  # bigger ones from a client: close 1009
    max_payload: int = 3_000 * 1_000 + 500  # one broadcast
    max_waiting: int = 50_000_000  # unsent frames of one connection: it is cut
    max_channels: int = 100  # of one connection
    max_connections: int | None = 200  # at once, of everybody together
    limits: Limits = field(default_factory=Limits)

    private_only: bool = False
    presence_enabled: bool = False  # for every channel, whatever it asks for

    token_lifetime: float = 3600.0  # of what sign-in gives out
    token_age: float = 0.0  # how old it is when given out: Auth's clock is behind Realtime's
    users: tuple[User, ...] = (DEMO_USER,)
    api_keys: Mapping[str, str] = field(default_factory=dict)  # `sb_…` key → role


def fast(**changes: object) -> Settings:
    """Settings for tests: the same steps in the same order, without the waiting."""
    quick = Settings(
        handshake_error_delay=0.0,
        join_error_delay=0.0,
        subscribed_delay=(0.0, 0.0),
        subscribe_again_delay=(0.05, 0.05),
        close_timeout=0.2,
    )
    return replace(quick, **changes)  # type: ignore[arg-type] # the caller names fields of Settings
