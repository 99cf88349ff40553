"""How does a broadcast get from its sender to those who listen?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from local.realtime.authorization import Extension, may_write
from local.realtime.channel import Channel
from local.realtime.outage import ERRORS
from local.realtime.replay import stored
from local.realtime.serializer import Frame, Inbound, Serializer, UserBroadcast, to_json
from local.realtime.tenant import Tenant
from local.realtime.topics import Hearer, Topic

log = structlog.get_logger()

Payload = Mapping[str, Any] | bytes | UserBroadcast


async def receive_broadcast(channel: Channel, message: Inbound) -> None:
    """
    Relay what a client sends. Without the right to write it is ignored, asked for an ack or not.

    The answer to one too big has a string as its response.
    """
    if not await can_write(channel, "broadcast"):
        return
    payload = message.payload
    channel.tenant.rates.events.count()
    too_big = size(payload) > channel.tenant.settings.max_payload
    if not too_big:
        tell(channel.tenant, channel.key, payload, sender=channel)
    if not channel.join.broadcast_ack:
        return
    if too_big:
        channel.reply(message, "error", "payload_size_exceeded")
    else:
        channel.reply(message, "ok", {})


def tell(tenant: Tenant, topic: Topic, payload: Any, *, sender: Hearer | None = None) -> None:
    """Hand a broadcast to the channels of the topic; to its sender only where it asked for that."""
    if tenant.faults.broadcasts_dead:
        return
    identity = message_id(payload)

    def wanted(channel: Hearer) -> bool:
        if channel is sender and not channel.join.broadcast_self:
            return False
        return channel.rights.read.broadcast and identity not in channel.replayed

    def count(channel: Hearer) -> None:
        tenant.rates.events.count()
        if tenant.rates.events.triggered:
            channel.shut_down("Too many messages per second")

    def encode(serializer: Serializer) -> Frame | None:
        if isinstance(payload, UserBroadcast):
            return serializer.user_broadcast(topic.wire, payload)
        if isinstance(payload, bytes):
            return serializer.binary_broadcast(topic.wire, "broadcast", payload)
        return serializer.text(topic.wire, "broadcast", to_json(payload))

    tenant.topics.tell(topic, encode, wanted, count)


def tell_stored(tenant: Tenant, row: Mapping[str, Any]) -> None:
    """
    Deliver a committed row of realtime.messages, as the replication connection hands it over.

    A row without a topic, an event, a payload or the word whether it is private stays where it is,
    and so does every row while there are too many; the real server says so in its log only.
    """
    if any(row.get(name) is None for name in ("topic", "event", "private")):
        return
    if row["payload"] is None and row["binary_payload"] is None:
        return
    if tenant.rates.events.triggered:
        return
    message = stored(row)
    if len(message.payload) <= tenant.settings.max_payload:
        tenant.rates.events.count()
        tell(tenant, Topic(row["topic"], row["private"]), message)


async def can_write(channel: Channel, extension: Extension) -> bool:
    """Ask the policies once and remember it; an error of the database counts as no, this time."""
    known = channel.rights.write
    if extension in known:
        return known[extension]
    try:
        allowed = await may_write(channel.tenant.pool, channel.claims, channel.name, extension)
    except ERRORS as error:
        log.warning("channel_policies.failed", reason=type(error).__name__)
        return False
    known[extension] = allowed
    return allowed


def size(payload: Payload) -> int:
    """Bytes of JSON; the real server measures Erlang's own form of it."""
    if isinstance(payload, UserBroadcast):
        return len(payload.payload)
    return len(payload) if isinstance(payload, bytes) else len(to_json(payload))


def message_id(payload: Payload) -> object:
    meta = payload.meta if isinstance(payload, UserBroadcast) else None
    if isinstance(payload, Mapping):
        meta = payload.get("meta")
    return meta.get("id") if isinstance(meta, Mapping) else None
