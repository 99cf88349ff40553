"""May this client join this channel, and what is it told?"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from local.realtime.channel import Channel, Owner
from local.realtime.join import Join, read_join
from local.realtime.outage import ERRORS
from local.realtime.postgres_changes import PostgresChanges, echoed
from local.realtime.presence_events import leave, sync
from local.realtime.refusals import NO_DATABASE, JoinRefused, join_refusal
from local.realtime.replay import replayed
from local.realtime.serializer import Inbound, UserBroadcast, broadcast_payload
from local.tokens import Claims, TokenRefused


async def join_channel(connection: Owner, message: Inbound) -> dict[str, Any]:
    """
    Join, in the order of the real server's checks; return the response of the reply.

    Raises JoinRefused.
    """
    join = read_join(message.payload, message.topic.removeprefix("realtime:"))
    _check(connection, message, join)
    await connection.tenant.faults.pass_late("late_joins")
    token = join.token or connection.token
    channel = Channel(connection, message, join, token, _claims(connection, token))
    try:
        channel.rights = await channel.ask_rights()
        messages = await replayed(connection.tenant.pool, channel.name, join)
    except TokenRefused as refused:
        raise JoinRefused(f"{refused.code}: {refused.message}") from None
    except ERRORS:
        raise JoinRefused(NO_DATABASE) from None
    response = {"postgres_changes": echoed(join.postgres_changes)}
    _open(channel, messages)
    return response


def _check(connection: Owner, message: Inbound, join: Join) -> None:
    tenant = connection.tenant
    if not message.topic.startswith("realtime:"):
        raise JoinRefused("unmatched topic", at_once=True)
    if message.topic == "realtime:":
        raise JoinRefused("TopicNameRequired: You must provide a topic name")
    if tenant.faults.refuse_joins is not None:
        raise join_refusal(tenant.faults.refuse_joins, message.topic.removeprefix("realtime:"))
    if tenant.settings.private_only and not join.private:
        raise JoinRefused("PrivateOnly: This project only allows private channels")
    if tenant.rates.joins.triggered:
        text = "ClientJoinRateLimitReached: Too many joins per second"
        raise JoinRefused(text, hang_up=1001)
    tenant.rates.joins.count()
    if len(connection.channels) >= tenant.settings.max_channels:
        raise JoinRefused("ChannelRateLimitReached: Too many channels")


def _claims(connection: Owner, token: str) -> Claims:
    try:
        return connection.tenant.read_token(token)
    except TokenRefused as refused:
        raise JoinRefused(f"{refused.code}: {refused.message}") from None


def _open(channel: Channel, messages: list[UserBroadcast]) -> None:
    """Everything here reaches the client behind the reply, which goes out first."""
    if messages and not channel.rights.read.broadcast:
        text = "You do not have permissions to read from this Channel topic: "
        raise JoinRefused(f"Unauthorized: {text}{channel.name}")
    channel.replayed = frozenset(str((message.meta or {})["id"]) for message in messages)
    channel.at_end.append(partial(leave, channel))
    channel.open()
    for message in messages:
        _replay(channel, message)
    if channel.presence_enabled:
        sync(channel)
    if channel.join.postgres_changes:
        changes = PostgresChanges(channel, channel.join.postgres_changes)
        channel.changes = changes
        channel.at_end.append(changes.stop)
        changes.subscribe()
    if channel.join.replication_ready:
        channel.connection.start(_await_replication(channel))


def _replay(channel: Channel, message: UserBroadcast) -> None:
    """Text carries the channel's join_ref; bytes are kind 4, and nothing at all in version 1."""
    if message.is_json:
        data = broadcast_payload(message)
        channel.send(
            channel.serializer.text(channel.topic, "broadcast", data, join_ref=channel.join_ref)
        )
    elif (frame := channel.serializer.user_broadcast(channel.topic, message)) is not None:
        channel.send(frame)


async def _await_replication(channel: Channel) -> None:
    """Say that broadcasts from the database flow; when they do not in time, end the channel."""
    tenant = channel.tenant
    try:
        async with asyncio.timeout(tenant.settings.replication_ready_timeout):
            await tenant.feed.ready.wait()
    except TimeoutError:
        channel.shut_down("Replication connection was not established in time")
    else:
        channel.system("system", "ok", "Replication connection established")
