"""
Where do the recordings in tests/fixtures come from?

From the local stack, the worker's own link and the statements below:

    python -m tests.support.stories

records them again and writes what replaying them is expected to print.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import asyncpg

from local.database import prepare
from local.postgres import Cluster
from local.realtime.server import Server
from tests.support.databases import FreshDatabase, administering, cloned, database_of
from tests.support.sockets import client, served, token
from worker.db.migrate import default_directory, migrate
from worker.event import Gap
from worker.realtime.link import Link
from worker.replay.record import Recorder
from worker.replay.recording import header
from worker.routing import load
from worker.subscription import Subscription

FIXTURES = Path(__file__).parents[1] / "fixtures"
HIDDEN = frozenset({"password_hash"})
DESK = Subscription("desk", broadcast=True, presence=True)

ANN, BOB = "a0000000-0000-4000-8000-000000000001", "b0000000-0000-4000-8000-000000000002"
LEAD = "10000000-0000-4000-8000-000000000001"
YES, NO = "20000000-0000-4000-8000-000000000001", "20000000-0000-4000-8000-000000000002"

AGENTS = f"""
    insert into agents (id, name, email) values
    ('{ANN}', 'Ann Abbott', 'ann@example.com'), ('{BOB}', 'Bob Byrne', 'bob@example.com')
"""
NEW_LEAD = f"""
    insert into leads (id, first_name, last_name, email, city, province, source, metadata)
    values ('{LEAD}', 'Zoë', 'O''Neil', 'zoe@example.com', 'Toronto', 'ON', 'website',
    '{{"score": 12.50, "tags": ["condo", "first time"]}}')
"""


class Wire:
    """A cable that can be cut: the link speaks to the server through it."""

    def __init__(self, server_url: str) -> None:
        address = urlsplit(server_url)
        self._host, self._port = address.hostname, address.port
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        self._writers += [writer, back]
        await asyncio.gather(_pour(reader, back), _pour(there, writer), return_exceptions=True)


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        sink.write(data)
        await sink.drain()


class Stage:
    """What a story may use: the database, people on the socket, the cable, and what was heard."""

    def __init__(
        self, database: asyncpg.Connection, server: Server, wire: Wire, channels: int
    ) -> None:
        self.database = database
        self.server = server
        self.wire = wire
        self.channels = channels
        self.heard: asyncio.Queue[bytes | Gap] = asyncio.Queue()

    async def do(self, *statements: str) -> None:
        for statement in statements:
            await self.database.execute(statement)

    async def hears(self, part: str, times: int = 1) -> None:
        """Wait for so many frames with this in them."""
        while times:
            frame = await self.heard.get()
            times -= isinstance(frame, bytes) and part.encode() in frame

    async def gaps_close(self) -> None:
        """Wait until each channel's gap is closed."""
        times = self.channels
        while times:
            times -= isinstance(await self.heard.get(), Gap)


Story = Callable[[Stage], Awaitable[None]]


async def lead_life(stage: Stage) -> None:
    """A lead comes, is assigned, moves on, changes hands, is touched in vain, and is deleted."""
    await stage.do(
        AGENTS,
        NEW_LEAD,
        f"update leads set assigned_agent = '{ANN}' where id = '{LEAD}'",
        f"update leads set status = 'contacted' where id = '{LEAD}'",
        f"update leads set status = 'qualified', assigned_agent = '{BOB}' where id = '{LEAD}'",
        f"insert into events (lead_id, agent_id, channel, direction, content)"
        f" values ('{LEAD}', '{BOB}', 'note', 'outbound', 'Likes the third floor; “quiet” side.')",
        f"update agents set active = false where id = '{BOB}'",
        f"update leads set status = 'won' where id = '{LEAD}'",
    )
    await stage.do("begin", f"delete from leads where id = '{LEAD}'", "rollback")
    await stage.do(f"delete from leads where id = '{LEAD}'")
    await stage.hears('"type":"DELETE"', 2)  # its event goes with it


async def approvals_decided(stage: Stage) -> None:
    """Two things are asked; one is approved with a note, the other cancelled."""
    ask = "insert into approvals (id, kind, subject, lead_id, requested_by, requested_of) values "
    await stage.do(
        AGENTS,
        NEW_LEAD,
        f"{ask} ('{YES}', 'discount', 'Half a month free', '{LEAD}', '{ANN}', '{BOB}')",
        f"{ask} ('{NO}', 'refund', 'Application fee', '{LEAD}', '{ANN}', '{BOB}')",
        f"update approvals set status = 'approved', decided_by = '{BOB}', decided_at = now(),"
        f" note = 'Once.'"
        f" where id = '{YES}'",
        f"update approvals set status = 'cancelled', decided_at = now() where id = '{NO}'",
    )
    await stage.hears('"status":"cancelled"')


async def cut_and_desk(stage: Stage) -> None:
    """People at a desk speak in every form; the cable is cut, a change is missed, a gap closes."""
    await stage.do(AGENTS, NEW_LEAD)
    await stage.hears('"table":"leads"')
    await _at_the_desk(stage)
    stage.wire.cut()
    await stage.do(f"update leads set status = 'contacted' where id = '{LEAD}'")  # unheard
    await stage.gaps_close()
    await stage.do(f"update leads set assigned_agent = '{ANN}' where id = '{LEAD}'")
    await stage.hears('"type":"UPDATE"')


async def _at_the_desk(stage: Stage) -> None:
    secret = {"user": {"email": "ann@example.com", "password_hash": "never to be seen"}}
    async with client(stage.server, "2.0.0") as ann:
        joined = await ann.join("realtime:desk", presence={"key": "ann", "enabled": True})
        track = {"type": "presence", "event": "track", "payload": {"name": "Ann"}}
        await ann.push("realtime:desk", "presence", track, join_ref=joined.ref)
        await stage.hears('"presence_diff"')
        message = {"type": "broadcast", "event": "signed-in", "payload": secret}
        await ann.push("realtime:desk", "broadcast", message, join_ref=joined.ref)
        await stage.hears("signed-in")
    async with client(stage.server, "1.0.0") as bob:
        joined = await bob.join("realtime:desk")
        message = {"type": "broadcast", "event": "typing", "payload": {"lead": LEAD}}
        await bob.push("realtime:desk", "broadcast", message, join_ref=joined.ref)
        await stage.hears("typing")
    await stage.do("select realtime.send('{\"open\": true}', 'opened', 'desk', false)")
    await stage.hears("opened")


STORIES: dict[str, Story] = {
    "lead-life": lead_life,
    "approvals-decided": approvals_decided,
    "cut-and-desk": cut_and_desk,
}


async def tell(name: str, cluster: Cluster, template: str) -> None:
    """Record one story, and what replaying it prints."""
    recording, expected = FIXTURES / f"{name}.jsonl", FIXTURES / f"{name}.expected"
    async with cloned(cluster, template) as database, served(database) as server:
        wire = Wire(server.url)
        async with wire.laid() as url, connected(database) as connection:
            with recording.open("wb") as file:
                subscriptions = (*load("handlers").wanted(), DESK)
                stage = Stage(connection, server, wire, len(subscriptions))
                await _record(stage, STORIES[name], subscriptions, url, file)
    with expected.open("wb") as file:
        replaying = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker", "replay", str(recording)), stdout=file
        )
        if await replaying.wait() != 0:
            raise SystemExit(f"{name}: a handler failed, see {expected}")


@asynccontextmanager
async def connected(database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.url)
    try:
        yield connection
    finally:
        await connection.close()


async def _record(
    stage: Stage, story: Story, subscriptions: tuple[Subscription, ...], url: str, file: BinaryIO
) -> None:
    file.write(header(subscriptions, datetime.now(UTC).isoformat(timespec="seconds")))
    recorder = Recorder(file, HIDDEN)

    def tap(what: bytes | Gap) -> None:
        recorder.hear(what)
        stage.heard.put_nowait(what)

    link = Link(
        url=url,
        key=token("service_role"),
        subscriptions=subscriptions,
        listener=recorder,
        hidden_columns=HIDDEN,
        tap=tap,
    )
    running = asyncio.create_task(link.run())
    await stage.gaps_close()
    await story(stage)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def main() -> None:
    with Cluster.running(durable=False) as cluster:
        template = "template_stories"
        async with administering(cluster) as connection:
            await connection.execute(f"create database {template}")
        await prepare(database_of(cluster, template).admin_url)
        async with administering(cluster) as connection:
            await connection.execute(f"alter database {template} owner to postgres")
        await migrate(database_of(cluster, template).url, default_directory())
        for name in STORIES:
            await tell(name, cluster, template)


if __name__ == "__main__":
    asyncio.run(main())
