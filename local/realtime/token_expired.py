"""Which tokens count as expired before their time?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local.realtime.switch import Kind
from local.tokens import TokenRefused


@dataclass(slots=True)
class Expired:
    """
    Those issued before a moment, and those in use at that moment (`worn`).

    `iat` is in whole seconds, so that a token of the same second needs the second rule. What was
    issued since is good: a client that refreshes gets on.
    """

    since: int = field(default_factory=lambda: int(time.time()))
    worn: set[str] = field(default_factory=set, repr=False)

    def __str__(self) -> str:
        return "on"

    def check(self, token: str, claims: Mapping[str, Any]) -> None:
        """Raises TokenRefused, in the words for one whose `exp` has passed."""
        issued = claims.get("iat")
        old = not isinstance(issued, int | float) or issued < self.since
        if old or token in self.worn:
            late = int(time.time()) - self.since
            text = f"Token has expired {late} seconds ago"
            raise TokenRefused("InvalidJWTToken", text, brief="Token has expired")


def _read(text: str) -> Expired:
    return Expired()


EXPIRED = Kind("on", _read)
