"""Which stored broadcasts does a private channel get when it joins?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import asyncpg

from local.realtime.join import Join
from local.realtime.refusals import JoinRefused
from local.realtime.serializer import UserBroadcast

MOST = 25

_NEWEST = """
    select id::text, event, payload::text, binary_payload
    from realtime.messages
    where topic = $1 and private and extension = 'broadcast'
      and inserted_at >= $2 and inserted_at < now() at time zone 'utc' + interval '1 minute'
    order by inserted_at desc
    limit $3
"""


async def replayed(pool: asyncpg.Pool, topic: str, join: Join) -> list[UserBroadcast]:
    """
    The newest `limit` messages since `since`, oldest first; older ones are left out without a word.

    Raises JoinRefused where the real server refuses.
    """
    if not join.wants_replay:
        return []
    if not join.private:
        raise _refused("Replay is not allowed for public channels")
    if not isinstance(join.replay, dict):
        return []
    since, limit = _since(join.replay.get("since")), _limit(join.replay.get("limit"))
    try:
        rows = await pool.fetch(_NEWEST, topic, since, limit)
    except asyncpg.PostgresError:
        raise _refused("Realtime was unable to replay messages") from None
    return [stored(row, replayed=True) for row in reversed(rows)]


def stored(row: Any, **meta: bool) -> UserBroadcast:
    """A row of realtime.messages, whose `id` and `payload` are texts."""
    meta_data = {**meta, "id": row["id"]}
    if row["binary_payload"] is not None:
        return UserBroadcast(row["event"], row["binary_payload"], is_json=False, meta=meta_data)
    payload = "null" if row["payload"] is None else row["payload"]
    return UserBroadcast(row["event"], payload.encode(), is_json=True, meta=meta_data)


def _since(value: object) -> datetime:
    """Unix milliseconds → what the column holds: UTC without saying so."""
    if not _is_int(value):
        raise _refused("Replay params are not valid")
    try:
        return datetime.fromtimestamp(int(str(value)) / 1000, UTC).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError):
        raise _refused("Replay params are not valid") from None


def _limit(value: object) -> int:
    if value is None:
        return MOST
    if not _is_int(value):
        raise _refused("Replay params are not valid")
    return max(1, min(int(str(value)), MOST))


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _refused(why: str) -> JoinRefused:
    return JoinRefused(f"UnableToReplayMessages: {why}")
