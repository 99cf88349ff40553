"""Does a notification arrive on a page that listens?"""

from __future__ import annotations

from uuid import uuid4

import pytest
import realtime as official

from local.realtime.server import Server
from tests.support.databases import FreshDatabase
from tests.support.policies import allow
from tests.support.sockets import client, token
from worker.effects import Notice
from worker.errors import AuthAway
from worker.outbox import Options, opened
from worker.realtime.protocol import decode

TOPIC = "agent:a/1 é?"
DATA = {"lead_id": "é", "n": 2**53 + 1, "nested": {"list": [None, True, 1.5]}}


async def test_a_notification_arrives_on_its_recipients_private_topic(realtime: Server) -> None:
    notice = Notice(uuid4(), "agent", "a/1 é?", "lead-moved", DATA)
    async with client(realtime) as page, client(realtime) as public:
        await page.join(f"realtime:{TOPIC}", private=True)
        await public.join(f"realtime:{TOPIC}")
        async with opened(["broadcast"], Options(realtime.url, token())) as sinks:
            await sinks["broadcast"](notice)
            await sinks["broadcast"](notice)
        heard = [decode(await page.hear_bytes()) for _ in range(2)]
        assert (await public.beat()).ref == "beat", "the public topic of that name hears nothing"

    assert heard[0].payload["event"] == "lead-moved"
    assert heard[0].payload["payload"] == {"notification_id": str(notice.id), **DATA}
    assert heard[1].payload["payload"] == heard[0].payload["payload"]


async def test_a_page_hears_the_same_from_the_official_client(realtime: Server) -> None:
    notice = Notice(uuid4(), "agent", "a/1 é?", "lead/moved", DATA)
    theirs = official.AsyncRealtimeClient(f"{realtime.url}/realtime/v1", token=token())
    async with client(realtime) as page:
        await page.join(f"realtime:{TOPIC}", private=True)
        async with opened(["broadcast"], Options(realtime.url, token())) as sinks:
            await sinks["broadcast"](notice)
        channel = theirs.channel(
            TOPIC,
            {
                "config": {
                    "broadcast": {"ack": False, "self": False},
                    "presence": {"key": "", "enabled": False},
                    "private": True,
                }
            },
        )
        await channel.http_send("lead/moved", {"notification_id": str(notice.id), **DATA})
        ours, same = decode(await page.hear_bytes()), decode(await page.hear_bytes())

    assert ours.payload["event"] == same.payload["event"]
    assert ours.payload["payload"] == same.payload["payload"]


async def test_a_broadcast_that_is_refused_is_an_error_to_be_tried_again(realtime: Server) -> None:
    notice = Notice(uuid4(), "agent", "a-1", "lead-moved", {})
    async with opened(["broadcast"], Options(realtime.url, "no-token")) as sinks:
        with pytest.raises(official.RealtimeHTTPError):
            await sinks["broadcast"](notice)


async def test_a_signed_in_user_sends_in_their_own_name(
    realtime: Server, database: FreshDatabase
) -> None:
    """A public key may write to no private topic: what it sends there is dropped without a word."""
    await allow(database, "insert")
    given: list[str | None] = [None, token("authenticated")]
    options = Options(realtime.url, token("anon"), lambda: given.pop(0))
    notice = Notice(uuid4(), "agent", "a-1", "lead-moved", {})
    async with client(realtime) as page, opened(["broadcast"], options) as sinks:
        await page.join("realtime:agent:a-1", private=True)
        with pytest.raises(AuthAway):
            await sinks["broadcast"](notice)
        await sinks["broadcast"](notice)
        heard = decode(await page.hear_bytes())

    assert heard.payload["payload"] == {"notification_id": str(notice.id)}


def test_options_do_not_show_their_key() -> None:
    assert "secret" not in repr(Options("http://x", "secret"))
