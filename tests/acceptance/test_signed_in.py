"""Does the process work in the name of a user, and say so when it cannot?"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from local.realtime.server import Server
from local.realtime.settings import DEMO_USER
from tests.acceptance.deployment import settings_for
from tests.acceptance.process import HANG_SECONDS, worker_process
from tests.acceptance.test_whole import add_agent
from tests.acceptance.test_whole import add_lead as assign_lead
from tests.support.databases import FreshDatabase
from tests.support.doorway import Doorway, doorway
from tests.support.policies import allow
from tests.support.sockets import client, served, token

KEY = "sb_secret_hunter2"


@pytest.fixture
async def server(migrated: FreshDatabase) -> AsyncIterator[Server]:
    """A server whose key may read nothing, and whose tokens are soon over."""
    async with served(
        migrated, api_keys={KEY: "anon"}, token_lifetime=4.0, token_check=0.1
    ) as server:
        yield server


@pytest.fixture
async def door(server: Server) -> AsyncIterator[Doorway]:
    async with doorway(urlsplit(server.url).port) as door:
        yield door


def as_user(database: FreshDatabase, url: str, **more: str) -> dict[str, str]:
    return settings_for(
        database.url,
        url,
        SUPABASE_USER_EMAIL=DEMO_USER.email,
        SUPABASE_USER_PASSWORD=DEMO_USER.password,
        **more,
    )


def counted(numbers: str, name: str) -> float:
    (line,) = (line for line in numbers.splitlines() if line.startswith(name))
    return float(line.rpartition(" ")[2])


async def add_lead(database: FreshDatabase) -> None:
    connection = await asyncpg.connect(database.url)
    try:
        await connection.execute(
            "insert into leads (first_name, last_name, email) values ('A', 'B', 'a@example.com')"
        )
    finally:
        await connection.close()


async def test_a_worker_outlives_its_tokens(
    migrated: FreshDatabase, server: Server, folder: Path
) -> None:
    settings = as_user(migrated, server.url, HOST="127.0.0.1", PORT="0", CANARY_SECONDS="1")
    async with (
        worker_process("run", folder=folder, settings=settings) as worker,
        httpx.AsyncClient() as browser,
    ):
        port = (await worker.event("worker.starting"))["port"]
        place = (await worker.event("worker.ready"))["place"]
        for _ in range(2):  # the first of them is over by then
            place = (await worker.event("token.renewed", after=place + 1))["place"]
        await add_lead(migrated)
        await worker.event("handler.finished", handler="leads.lead_kept")
        numbers = (await browser.get(f"http://127.0.0.1:{port}/metrics")).text
        worker.send(signal.SIGTERM)

        assert await worker.ends() == 0
        assert counted(numbers, 'tidemark_canary_seconds_count{kind="changes"}') >= 1
        assert counted(numbers, "tidemark_tokens_renewed_total") >= 3
        assert [line["reason"] for line in worker.events("gap.opened")] == ["start"]
        assert len(worker.events("user.signed_in")) == 1
        assert not worker.events("canary.disabled"), "the user may read the beats, too"
        story = worker.story()
        assert DEMO_USER.password not in story and DEMO_USER.email not in story
        assert "eyJ" not in story and "hunter2" not in story


async def test_a_notification_goes_out_in_the_name_of_the_user(
    migrated: FreshDatabase, server: Server, tmp_path: Path
) -> None:
    """The key may write to no private topic: in its name it would be dropped without a word."""
    await allow(migrated, "insert")
    settings = as_user(migrated, server.url, HANDLERS="handlers", SINKS="broadcast")
    async with (
        worker_process("run", folder=tmp_path, settings=settings) as worker,
        client(server, "1.0.0") as page,
    ):
        await worker.event("worker.ready")
        agent = await add_agent(migrated)
        joined = await page.join(f"realtime:agent:{agent}", token=token(), private=True)
        assert joined.payload["status"] == "ok", joined
        await assign_lead(migrated, agent)

        async with asyncio.timeout(HANG_SECONDS):
            heard = await page.event("broadcast")
        assert heard.payload["event"] == "lead-assigned"


async def test_readiness_says_why_nobody_is_signed_in(
    migrated: FreshDatabase, server: Server, folder: Path
) -> None:
    wrong = as_user(migrated, server.url, HOST="127.0.0.1", PORT="0")
    wrong["SUPABASE_USER_PASSWORD"] = "hunter3"
    async with (
        worker_process("run", folder=folder, settings=wrong) as worker,
        httpx.AsyncClient() as browser,
    ):
        port = (await worker.event("worker.starting"))["port"]
        await worker.event("sign_in.refused")
        answer = await browser.get(f"http://127.0.0.1:{port}/ready")
        worker.send(signal.SIGTERM)

        assert answer.status_code == 503
        why = "Auth gives no token: invalid_credentials (HTTP 400)"
        assert why in answer.json()["reasons"]
        assert await worker.ends() == 0
        assert not worker.events("connection.opened")
        assert "hunter3" not in worker.story()


async def test_a_stop_does_not_wait_for_an_auth_that_hangs(
    migrated: FreshDatabase, door: Doorway, folder: Path
) -> None:
    door.freeze()
    settings = as_user(migrated, f"http://127.0.0.1:{door.port}")
    async with worker_process("run", folder=folder, settings=settings) as worker:
        await door.knocked.wait()
        worker.send(signal.SIGTERM)

        assert await worker.ends() == 0
        assert not worker.events("worker.undrained") and not worker.events("worker.abandoned")


async def test_a_recording_is_made_in_the_name_of_the_user(
    migrated: FreshDatabase, server: Server, folder: Path
) -> None:
    settings = as_user(migrated, server.url)
    async with worker_process(
        "record", "--out", "heard.jsonl", folder=folder, settings=settings
    ) as worker:
        await worker.event("channel.ready")
        await add_lead(migrated)
        worker.send(signal.SIGTERM)

        assert await worker.ends() == 0
        assert worker.events("user.signed_in")
    recorded = (folder / "heard.jsonl").read_text()
    assert "eyJ" not in recorded and DEMO_USER.password not in recorded
