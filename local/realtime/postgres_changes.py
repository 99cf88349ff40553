"""When do the changes a channel asked for begin to flow, and what does it hear of that?"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from local.realtime.changes import FeedLost, SubscriptionRefused, Wanted
from local.realtime.channel import Channel
from local.realtime.join import binding_id
from local.realtime.refusals import JoinRefused
from local.realtime.serializer import from_json, to_json

EXTENSION = "postgres_changes"


class PostgresChanges:
    """
    The subscriptions of one channel, under one key of the feed.

    They begin some seconds after the join is answered, and only then does the client hear of it.
    """

    def __init__(self, channel: Channel, bindings: Sequence[Mapping[str, Any]]) -> None:
        self._channel = channel
        self._wanted = [Wanted.of(binding, binding_id(binding)) for binding in bindings]
        self._task: asyncio.Task[None] | None = None
        self.lost = False  # nobody tells the channel, and what it is to hear goes nowhere

    def subscribe(self) -> None:
        """Begin, or begin again with the channel's present claims; the client hears of it again."""
        self._restart(self._subscribe())

    def fail(self, why: str) -> None:
        """Say that it does not work, and try again in a while, as for an error that may pass."""
        self._channel.system(EXTENSION, "error", why)
        self._restart(self._subscribe_again())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        tenant = self._channel.tenant
        tenant.subscribers.discard(self)
        tenant.start(tenant.feed.unsubscribe(self))

    def _restart(self, work: Coroutine[Any, Any, None]) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = self._channel.connection.start(work)

    async def _subscribe(self) -> None:
        await asyncio.sleep(random.uniform(*self._channel.tenant.settings.subscribed_delay))
        await self._subscribe_now()

    async def _subscribe_again(self) -> None:
        tenant = self._channel.tenant
        await tenant.feed.unsubscribe(self)
        await asyncio.sleep(random.uniform(*tenant.settings.subscribe_again_delay))
        await self._subscribe_now()

    async def _subscribe_now(self) -> None:
        tenant, channel = self._channel.tenant, self._channel
        await tenant.faults.pass_late("late_changes")
        while True:
            try:
                await tenant.feed.subscribe(self, self._wanted, channel.claims, self._deliver)
            except SubscriptionRefused as refused:
                return channel.system(EXTENSION, "error", refused.message)
            except FeedLost:
                await asyncio.sleep(random.uniform(*tenant.settings.subscribe_again_delay))
            else:
                tenant.subscribers.add(self)
                return channel.system(EXTENSION, "ok", "Subscribed to PostgreSQL")

    def _deliver(self, ids: list[int], data: bytes) -> None:
        """One change, encoded already; it carries neither reference."""
        channel = self._channel
        rate = channel.tenant.rates.changes
        if rate.triggered or self.lost or channel.tenant.faults.cdc_dead:
            return  # without a word, as the real one
        rate.count(len(ids))
        if channel.join.legacy:
            event = str(from_json(data)["type"])
            channel.send(channel.serializer.text(channel.topic, event, data))
            return
        payload = b'{"data":' + data + b',"ids":' + to_json(ids) + b"}"
        channel.send(channel.serializer.text(channel.topic, EXTENSION, payload))


def echoed(bindings: Sequence[Any]) -> list[dict[str, Any]]:
    """What the join is answered: each binding key for key, with the number that stands for it."""
    if not all(isinstance(binding, dict) for binding in bindings):
        raise JoinRefused("Unknown Error on Channel")
    return [{**binding, "id": binding_id(binding)} for binding in bindings]
