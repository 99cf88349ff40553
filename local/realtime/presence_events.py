"""What happens when a client tells who it is, and who is told of it?"""

from __future__ import annotations

from typing import Any

from local.realtime.broadcast import can_write
from local.realtime.channel import Channel
from local.realtime.presence import Diff
from local.realtime.serializer import Inbound, to_json


async def receive_presence(channel: Channel, message: Inbound) -> None:
    """`track` or `untrack`; anything without an event is answered ok and forgotten."""
    payload = message.payload if isinstance(message.payload, dict) else {}
    event = payload.get("event")
    if not isinstance(event, str):
        channel.reply(message, "ok", {})
    elif not channel.presence_calls.allows():
        channel.shut_down("Client presence rate limit exceeded")
    elif event.lower() == "track":
        await _track(channel, message, payload.get("payload", {}))
    elif event.lower() == "untrack":
        channel.reply(message, "ok", {})
        leave(channel)
    else:
        channel.reply(message, "error", {})


def sync(channel: Channel) -> None:
    """Tell a channel who is there."""
    rate = channel.tenant.rates.presence
    if rate.triggered:
        channel.shut_down("Too many presence messages per second")
    elif channel.rights.read.presence:
        rate.count()
        channel.push("presence_state", channel.tenant.presences.state(channel.key))


def leave(channel: Channel) -> None:
    """It is there no more, and everybody hears of it; if it never was, nobody does."""
    _announce(channel, channel.tenant.presences.untrack(channel.key, channel))


def _announce(channel: Channel, diff: Diff | None) -> None:
    """Tell everybody on the topic of a change; None is none."""
    if diff is None:
        return
    payload = to_json(diff.payload())
    channel.tenant.topics.tell(
        channel.key,
        lambda serializer: serializer.text(channel.topic, "presence_diff", payload),
        lambda hearer: hearer.rights.read.presence,
        lambda hearer: channel.tenant.rates.presence.count(),
    )


async def _track(channel: Channel, message: Inbound, payload: Any) -> None:
    if not await can_write(channel, "presence"):
        return channel.reply(message, "error", {})
    if not isinstance(payload, dict):
        reason = "Presence track payload must be a map"
        return channel.reply(message, "error", {"reason": reason})
    if len(to_json(payload)) > channel.tenant.settings.max_payload:
        return channel.shut_down("Track message size exceeded")
    if channel.tenant.rates.presence.triggered:
        return channel.shut_down("Too many presence messages per second")
    channel.tenant.rates.presence.count()
    key = channel.join.presence_key
    diff = channel.tenant.presences.track(channel.key, channel, key, payload)
    channel.reply(message, "ok", {})
    _announce(channel, diff)
    if not channel.presence_enabled:
        channel.presence_enabled = True
        sync(channel)
    return None
