"""What does a message of a client do to the channel it is for?"""

from __future__ import annotations

from collections.abc import Mapping

from local.realtime.broadcast import receive_broadcast
from local.realtime.channel import Channel
from local.realtime.presence_events import receive_presence
from local.realtime.serializer import Inbound


async def receive(channel: Channel, message: Inbound) -> None:
    """Anything that is none of these is ignored, as the real server does."""
    if message.event == "phx_leave":
        channel.leave(message)
    elif message.event == "broadcast":
        await receive_broadcast(channel, message)
    elif message.event == "presence":
        await receive_presence(channel, message)
    elif message.event == "access_token" and isinstance(message.payload, Mapping):
        await channel.take_token(message.payload.get("access_token"))
