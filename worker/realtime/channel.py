"""What is a channel waiting for, and by when must that have come?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..subscription import Subscription
from .events import PREFIX
from .heartbeat import NEVER
from .joining import Tenant, payload
from .refusals import (
    NO_REPLAY,
    PRIVATE_ONLY,
    REPLAYS_NEVER,
    TOO_FAST,
    is_about_token,
    is_not_retried,
    is_refused_for_good,
    refusal,
    weight,
)
from .timing import Timing

_CHANGES, _REPLICATION = "changes", "replication"


class State(Enum):
    """
    waiting ─▶ joining ─▶ joined ─▶ ready; every state but `ready` has a deadline.

    `joined` waits for changes to flow, `degraded` for the server to mend what it says it will,
    `refused` for somebody else to mend what it says it will not. All three end in `waiting`.
    """

    WAITING = "waiting"
    JOINING = "joining"
    JOINED = "joined"
    READY = "ready"
    DEGRADED = "degraded"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Moved:
    """A channel went from one state to another; READY to READY is an unexpected subscription."""

    topic: str
    before: State
    now: State
    reason: str
    is_wanted: bool = False  # by us, and whoever wanted it has said why

    @property
    def refuses_token(self) -> bool:
        """Say whether this is the moment in which the channel's token was refused."""
        is_answer = self.before is State.JOINING and self.now in (State.WAITING, State.REFUSED)
        return (is_answer or self.now is State.DEGRADED) and is_about_token(self.reason)


class Channel:
    """
    One channel as the client knows it: no I/O, and time is an argument.

    It ends each of its states when `due`; `tell` hears of every move. It outlives its session
    where it moves to another line.
    """

    def __init__(
        self,
        subscription: Subscription,
        *,
        timing: Timing,
        tenant: Tenant,
        backoff: Callable[[], Iterator[float]],
        due: float,
    ) -> None:
        self.subscription = subscription
        self.wire_topic = PREFIX + subscription.topic
        self.tell: Callable[[Moved], None] = _nobody
        self.state = State.WAITING
        self.due = due
        self.reason = "start"
        self.join_ref: str | None = None
        self.is_joined = False  # the server has a channel of ours
        self.token: str | None = None  # the one the server has of us for this channel
        self.refusals = 0  # of its join, since it was ready; one for good weighs two
        self._timing = timing
        self._tenant = tenant
        self._backoff = backoff
        self._waits = backoff()
        self._ready_at = NEVER
        self._repeats_until = -NEVER  # until then a repeated subscription is what we asked for
        self._awaited: set[str] = set()  # what the server has yet to say
        self._may_replay = True
        self._is_private = subscription.private  # as it was joined last
        # A topic that only brings changes has no other members: nobody cares which it is.
        self._is_ours = bool(subscription.bindings) and not (
            subscription.broadcast or subscription.presence
        )

    @property
    def is_doubtful(self) -> bool:
        """Say whether it is to be expected that its join is refused, and its socket held up."""
        return self.refusals > 1

    def is_current(self, join_ref: str | None) -> bool:
        """After a rejoin the server still says goodbye to the old channel, under the old ref."""
        return join_ref is None or join_ref == self.join_ref

    def is_behind(self, other: Channel) -> bool:
        """Say whether the server gets to this join after that one: it takes them in their order."""
        return int(self.join_ref or 0) > int(other.join_ref or 0)

    # What we do

    def join(self, ref: str, token: str | None, since: int | None, now: float) -> dict[str, Any]:
        """
        Begin to join; return the payload.

        `since` says from which unix millisecond on broadcasts are missing, if any are. A server
        stores those of private channels only.
        """
        wanted, tenant = self.subscription, self._tenant
        self._is_private = wanted.private or (self._is_ours and tenant.private_only)
        is_stored = wanted.private and wanted.broadcast and not wanted.canary
        tells = is_stored and tenant.tells_replication is not False
        replays = is_stored and tenant.replays and self._may_replay
        self._awaited = {_CHANGES} if wanted.bindings else set()
        if tells:
            self._awaited.add(_REPLICATION)
        self.join_ref, self.token = ref, token
        self.is_joined, self._repeats_until = False, -NEVER
        self._move(State.JOINING, now + self._timing.join, self.reason)
        return payload(
            wanted,
            private=self._is_private,
            replication=tells,
            since=since if replays else None,
            token=token,
        )

    def rejoin(self, now: float, reason: str) -> None:
        """Join again at once."""
        self._ready_at = NEVER
        self._move(State.WAITING, now, reason, is_wanted=True)

    def join_with_newer(self, token: str | None, now: float) -> None:
        """What was refused for a token that has a successor need not wait."""
        if not is_about_token(self.reason) or token == self.token:
            return
        if self.state is State.WAITING:
            self.due = now
        elif self.state is State.REFUSED:
            self._move(State.WAITING, now, self.reason)

    def put_off(self, now: float) -> None:
        """Ask again as seldom as if it had been refused for good."""
        if self.state is State.WAITING:
            self._move(State.REFUSED, now + self._timing.refused, self.reason)

    def told_token(self, token: str, now: float) -> None:
        """The server says `Subscribed to PostgreSQL` once more for a new token: no gap."""
        self.token = token
        if self.subscription.bindings:
            self._repeats_until = now + self._timing.renewed

    def excuse(self, now: float) -> None:
        """What it waits for may have come while nothing was being read."""
        if self.state in (State.JOINING, State.JOINED, State.DEGRADED):
            self.due = max(self.due, now + self._timing.join)

    def let_go(self, now: float) -> None:
        """It goes to another session; what the server had of it, it has no more."""
        if self.state not in (State.WAITING, State.REFUSED):
            self.state, self.due = State.WAITING, now
        self.join_ref, self.is_joined = None, False

    def overdue(self, now: float) -> None:
        """Leave a state that has lasted too long."""
        is_untold = self.state is State.JOINED and self._awaited == {_REPLICATION}
        if is_untold and self._tenant.tells_replication is not True:  # older servers never do
            self._tenant.tells_replication = False
            self._become_ready(now)
            return
        silence = "replication" if is_untold else "changes"
        reasons = {
            State.JOINING: "join not answered",
            State.JOINED: f"no {silence} after the join",
        }
        self._rejoin_later(now, reasons.get(self.state, self.reason))

    # What the server says

    def replied(self, payload: dict[str, Any], now: float, *, is_trial: bool) -> None:
        """Take in the answer to the join. On a trial, to be accepted is all there is."""
        if payload.get("status") != "ok":
            self._refused(refusal(payload.get("response")), now)
            return
        self.is_joined = True
        if self._awaited or is_trial:
            is_slow = _REPLICATION in self._awaited
            patience = self._timing.replication if is_slow else self._timing.subscribed
            self._move(State.JOINED, now + patience, "joined")
        else:
            self._become_ready(now)

    def closed(self, event: str, now: float) -> None:
        """The server shut it, or it crashed there. A fatal message before it says why."""
        if self.state is not State.WAITING:
            self._rejoin_later(now, self.reason if self.state is State.DEGRADED else event)

    def system(self, payload: dict[str, Any], message: str, now: float) -> None:
        """Take in what a `system` message says of it."""
        is_ok = payload.get("status") == "ok"
        if payload.get("extension") != "postgres_changes":
            if is_ok:
                self._replicates(message, now)
            else:  # fatal: phx_close follows
                self._wait_for_mending(State.DEGRADED, now + self._timing.closing, message)
        elif is_ok:
            self._subscribed(now)
        elif is_not_retried(message):
            self._wait_for_mending(State.REFUSED, now + self._timing.unwatched, message)
        else:
            self._wait_for_mending(State.DEGRADED, now + self._timing.degraded, message)

    def _refused(self, reason: str, now: float) -> None:
        if reason.startswith(PRIVATE_ONLY) and self._is_ours and not self._is_private:
            self._tenant.private_only = True
            self._move(State.WAITING, now, reason)
            return
        self.refusals += weight(reason)
        if reason.startswith(REPLAYS_NEVER):
            self._tenant.replays = False
        if reason.startswith(NO_REPLAY) and self._may_replay:
            self._may_replay = False
            self._move(State.WAITING, now, reason)
        elif is_refused_for_good(reason):
            self._move(State.REFUSED, now + self._timing.refused, reason)
        else:
            if reason.startswith(TOO_FAST):
                self._tenant.slowness *= 2
            self._rejoin_later(now, reason)

    def _replicates(self, message: str, now: float) -> None:
        if message != "Replication connection established":
            return
        self._tenant.tells_replication = True
        self._awaited.discard(_REPLICATION)
        if self.state is State.JOINED and not self._awaited:
            self._become_ready(now)

    def _subscribed(self, now: float) -> None:
        self._awaited.discard(_CHANGES)
        if self._awaited:
            return
        if self.state is State.READY and now < self._repeats_until:
            self._repeats_until = -NEVER
            return
        self._become_ready(now)

    def _become_ready(self, now: float) -> None:
        if self.state is not State.READY:
            self._ready_at = now
        self.is_joined, self.refusals, self._may_replay = True, 0, True
        self._move(State.READY, NEVER, "subscribed")

    def _rejoin_later(self, now: float, reason: str) -> None:
        if now - self._ready_at >= self._timing.stable:
            self._waits = self._backoff()
        self._ready_at = NEVER
        self._move(State.WAITING, now + next(self._waits), reason)

    def _wait_for_mending(self, state: State, due: float, reason: str) -> None:
        """What is said again is no new deadline: it would move on for ever."""
        if state is self.state:
            self.due, self.reason = min(self.due, due), reason
        else:
            self._move(state, due, reason)

    def _move(self, state: State, due: float, reason: str, *, is_wanted: bool = False) -> None:
        moved = Moved(self.subscription.topic, self.state, state, reason, is_wanted)
        self.state, self.due, self.reason = state, due, reason
        self.is_joined = self.is_joined and state is not State.WAITING
        self.tell(moved)


def _nobody(moved: Moved) -> None:
    """Nobody listens between two sessions."""
