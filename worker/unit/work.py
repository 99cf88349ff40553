"""How do the effects of a batch become one transaction?"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

import asyncpg
import structlog

from .. import metrics
from ..cache import Caches
from ..db import Connection, Database
from ..effects import KINDS, Batch, DeadLetter, Drop, Effects, Put
from ..errors import DatabaseAway
from ..hidden import Hidden
from . import blame
from .pieces import Piece, cut
from .writing import Handled, already_handled, write, write_dead

log = structlog.get_logger()

# What has to succeed before anything else is written: a lane's cursor, conditionally moved on.
First: TypeAlias = Callable[[Connection], Awaitable[None]]


class UnitOfWork:
    """
    Commits what handlers asked for, a batch at a time, in one transaction.

    What one handler asked for about one event is written whole or, where the fault lies in it,
    not at all: then it becomes a dead letter in the same transaction, and all the rest is
    written as if it had never been there. `statement_timeout` and `idle_timeout` are seconds;
    a frozen worker must not keep rows locked. `committed` is called after each commit that
    holds notifications.
    """

    def __init__(
        self,
        database: Database,
        caches: Caches,
        *,
        hidden_columns: Iterable[str] = (),
        statement_timeout: float = 10.0,
        idle_timeout: float = 3.0,
        lane: str = "live",
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._caches = caches
        self._hidden = Hidden(hidden_columns)
        self._limits = (
            f"set local statement_timeout = {int(statement_timeout * 1000)};"
            f"set local idle_in_transaction_session_timeout = {int(idle_timeout * 1000)}"
        )
        self._lane = lane
        self._committed = committed

    async def commit(self, batch: Batch, first: First | None = None) -> None:
        """
        Commit the batch. The same batch again changes nothing, as far as its events are audited;
        without an audit row counters and handlers' statements would be applied again.

        Raises DatabaseAway when it has to be tried again later, and whatever `first` raises.
        """
        began = time.monotonic()
        pieces, dead = self._cut(batch)
        self._apply_to_caches(pieces)
        written = [piece for piece in pieces if piece]
        if written or dead or first:
            dead += await self._transact(written, dead, first)
            metrics.units_committed.inc()
            metrics.unit_seconds.observe(time.monotonic() - began)
        # A loader may have read, before the commit, what the unit itself has just overwritten.
        self._drop_again(pieces)
        self._count(pieces, dead)
        if any(piece.notices for piece in written):
            self._committed()

    def _cut(self, batch: Batch) -> tuple[list[Piece], list[DeadLetter]]:
        pieces, dead = [], list(batch.dead)
        for effects in batch.asked:
            try:
                self._check_caches(effects)
                pieces.append(cut(effects, self._hidden.columns_of))
            # A handler asked for what there is not, or for what no JSON can hold; and what it
            # handed over has methods of its own, which raise what they like.
            except Exception as error:
                dead.append(_given_up(effects, error))
        return pieces, dead

    def _check_caches(self, effects: Effects) -> None:
        for effect in effects.asked:
            if isinstance(effect, Put | Drop):
                self._caches[effect.cache]
                hash(effect.key)

    def _apply_to_caches(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            for effect in piece.effects.asked:
                if isinstance(effect, Put):
                    self._caches[effect.cache].put(effect.key, effect.value)
                elif isinstance(effect, Drop):
                    self._caches[effect.cache].drop(effect.key)

    def _drop_again(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            for effect in piece.effects.asked:
                if isinstance(effect, Drop):
                    self._caches[effect.cache].drop(effect.key)

    async def _transact(
        self, pieces: Sequence[Piece], dead: Sequence[DeadLetter], first: First | None
    ) -> list[DeadLetter]:
        """Write all at once; where that fails for a piece's fault, once more and find it."""

        async def at_once(connection: Connection) -> list[DeadLetter]:
            await self._begin(connection, first)
            await write(connection, pieces)
            if dead:
                await write_dead(connection, dead, self._lane, self._hidden.anywhere_in)
            return []

        async def sparing_the_rest(connection: Connection) -> list[DeadLetter]:
            await self._begin(connection, first)
            handled = await already_handled(connection, pieces)
            guilty = await _without_the_guilty(connection, pieces, handled)
            letters = [*dead, *guilty]
            await write_dead(connection, letters, self._lane, self._hidden.anywhere_in)
            return guilty

        try:
            try:
                return await self._database.attempt(at_once)
            except blame.Guilty:
                return await self._database.attempt(sparing_the_rest)
        except asyncpg.PostgresError as error:
            # Not about an event: no room, no right, no such table. It waits for the operator.
            raise DatabaseAway(f"the database refuses: {blame.words(error)}") from error

    async def _begin(self, connection: Connection, first: First | None) -> None:
        await connection.execute(self._limits)
        if first is not None:
            # Before the effects: the loser of two workers must meet its lost race here, and not
            # a unique violation that reads as an event's fault.
            await first(connection)

    def _count(self, pieces: Sequence[Piece], dead: Sequence[DeadLetter]) -> None:
        given_up = {(letter.event.id, letter.handler) for letter in dead}
        for piece in pieces:
            effects = piece.effects
            if (effects.event.id, effects.handler) not in given_up:
                for effect in effects.asked:
                    metrics.effects_committed.labels(KINDS[type(effect)]).inc()
        for letter in dead:
            metrics.dead_letters_stored.labels(letter.handler).inc()
            log.error(
                "dead_letter.stored",
                handler=letter.handler,
                event_id=str(letter.event.id),
                reason=letter.reason.partition(":")[0],
                attempts=letter.attempts,
            )


async def _without_the_guilty(
    connection: Connection, pieces: Sequence[Piece], handled: Handled
) -> list[DeadLetter]:
    """Write the pieces, in order, except for those that cannot be written: return these."""
    if not pieces:
        return []
    try:
        async with connection.transaction():  # a savepoint
            await write(connection, pieces, handled)
    except blame.Guilty as guilty:
        if len(pieces) == 1:
            return [_given_up(pieces[0].effects, guilty.__cause__ or guilty)]
        middle = len(pieces) // 2
        return [
            *await _without_the_guilty(connection, pieces[:middle], handled),
            *await _without_the_guilty(connection, pieces[middle:], handled),
        ]
    return []


def _given_up(effects: Effects, error: BaseException) -> DeadLetter:
    return DeadLetter(effects.event, effects.handler, f"{blame.words(error)}: {error}", 1)
