"""How does every notification reach every sink at least once?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import islice
from typing import Never

import structlog

from .. import backoff, metrics
from ..effects import Notice
from ..errors import DatabaseAway
from .rows import Claimed, Connections, Outbox, Settled
from .sink import Send

log = structlog.get_logger()

PAGE = 100
LEASE = 30.0  # seconds until a claim ends by itself
SEND_SECONDS = 10.0  # for one sink to take one notification
POLL = 5.0  # seconds; another process may have written what nobody here was woken for
KEPT = 7 * 24 * 3600.0  # seconds that a delivered one is kept
PRUNE_EVERY = 600.0
AWAY_CAP = 5.0  # seconds; a database that came back is to be seen soon
RETRY_CAP = 600.0  # seconds between two attempts, at most; there is no last attempt

Pause = Callable[[float], Awaitable[None]]


async def deliver(
    database: Connections,
    sinks: Mapping[str, Send],
    woken: asyncio.Event,
    turn: asyncio.Lock,
    *,
    poll: float = POLL,
    kept: float = KEPT,
    prune_every: float = PRUNE_EVERY,
    retries: Callable[[], Iterable[float]] = lambda: backoff.waits(first=1.0, cap=RETRY_CAP),
    pause: Pause = asyncio.sleep,
) -> Never:
    """
    Hand what is in the outbox to every sink until cancelled.

    At least once under the same id: a crash between sending and writing that down sends again.
    Notifications to one recipient go in order, except past one that has to be tried again.
    `woken` is set when there may be new ones; without it the table is looked at every `poll`
    seconds. `turn` is held from claiming some to writing down what became of them: whoever takes
    it lets that be finished, and nothing more be claimed. `retries` gives the waits between
    attempts at one notification. Every `prune_every` seconds what was delivered `kept` seconds
    ago is forgotten.
    """
    outbox = Outbox(database)
    away, said = backoff.waits(cap=AWAY_CAP), ""
    pruned = time.monotonic()
    while True:
        woken.clear()  # before looking: what comes while we look wakes us again
        try:
            async with turn:
                claimed = await outbox.claim(PAGE, LEASE)
                if claimed:
                    await outbox.settle(await _send_all(claimed, sinks, retries))
                    continue
            waiting, next_in = await outbox.waiting()
            metrics.outbox_waiting.set(waiting)
            if time.monotonic() - pruned >= prune_every:
                await outbox.prune(kept)
                pruned = time.monotonic()
        except DatabaseAway as error:
            if str(error) != said:  # not for each attempt: `database.away` says so already
                said = str(error)
                log.warning("outbox.waiting", reason=said)
            await pause(next(away))
            continue
        away, said = backoff.waits(cap=AWAY_CAP), ""
        await _woken_or(woken, poll if next_in is None else min(max(next_in, 0.01), poll))


async def _woken_or(woken: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        pass


async def _send_all(
    claimed: Iterable[Claimed],
    sinks: Mapping[str, Send],
    retries: Callable[[], Iterable[float]],
) -> list[Settled]:
    """Send to different recipients at once, to each of them in order."""
    by_recipient: dict[tuple[str, str], list[Claimed]] = {}
    for one in claimed:
        by_recipient.setdefault((one.notice.audience, one.notice.recipient), []).append(one)

    async def in_order(mine: list[Claimed]) -> list[Settled]:
        return [await _send(one, sinks, retries) for one in mine]

    done = await asyncio.gather(*map(in_order, by_recipient.values()))
    return [settled for several in done for settled in several]


async def _send(
    claimed: Claimed, sinks: Mapping[str, Send], retries: Callable[[], Iterable[float]]
) -> Settled:
    """Hand it to the sinks that have not taken it; each gets its chance whatever others do."""
    sent_by, last_error = set(claimed.sent_by), None
    for name, send in sinks.items():
        if name in sent_by:
            continue
        error = await _hand_over(name, send, claimed.notice, claimed.attempts)
        if error is None:
            sent_by.add(name)
        else:
            last_error = error
    again = None
    if last_error is not None:
        tries = min(claimed.attempts, 20)  # by then the cap is reached
        again = next(islice(retries(), tries - 1, None))
    return Settled(claimed, frozenset(sent_by), again, last_error)


async def _hand_over(name: str, send: Send, notice: Notice, attempt: int) -> str | None:
    """Return None, or the class of what the sink raised: a message may hold what was sent."""
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await send(notice)
    # A sink is a door to libraries that raise what they like; all of it means: not yet.
    except Exception as error:
        metrics.notifications_failed.labels(name).inc()
        log.warning(
            "notification.failed",
            sink=name,
            id=str(notice.id),
            attempt=attempt,
            error=type(error).__name__,
        )
        return type(error).__name__
    metrics.notifications_sent.labels(name).inc()
    log.debug("notification.sent", sink=name, id=str(notice.id), attempt=attempt)
    return None
