"""Is a way that died without a word noticed, opened again, and its time told as a gap?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from local.postgres import Cluster
from tests.support.databases import FreshDatabase, administering, cloned
from tests.support.doorway import doorway
from tests.support.policies import admin
from worker.db import Database
from worker.db.beats import Row
from worker.db.migrate import default_directory, migrate
from worker.event import Change, Gap
from worker.subscription import Subscription

from .canary_stage import LEISURELY, PATIENT, ROOM, insert, next_of, passed, staged
from .scripted import LEADS


async def test_beats_come_back_and_nobody_else_hears_of_them(migrated: FreshDatabase) -> None:
    async with staged(migrated, patience=LEISURELY) as stage:
        await stage.ready()
        await stage.row.more(5)
        await insert(migrated)
        heard = await stage.ear.next()

        assert isinstance(heard, Change) and heard.table == "public.leads"
        assert stage.link.ready and stage.link.doubts == []
        assert set(stage.link.channels) == {"leads", "room"}
        (line,) = stage.link.lines
        assert line.session is not None and len(line.session.channels) == 4
    assert not [line for line in stage.log.lines if "canary" in str(line)]


async def test_subscriptions_that_died_without_a_word_are_made_again(
    migrated: FreshDatabase,
) -> None:
    async with staged(migrated, patience=PATIENT) as stage:
        await stage.ready()
        before = asyncio.get_running_loop().time()
        stage.server.faults.cdc_lost = True
        await insert(migrated)
        gap = await stage.gap("no canary beat")
        await stage.log.until("canary.back", kind="changes")
        await insert(migrated)
        await next_of(Change, stage.ear)

        assert gap.tables == {"public.leads"} and gap.topics == {"leads"}
        assert gap.opened < before, "it begins with the last beat that came, not when we noticed"
        assert stage.link.ready
    remedies = [line["remedy"] for line in stage.log.said("canary.missed", kind="changes")]
    assert remedies == ["rejoin"]
    assert len(stage.log.said("connection.opened")) == 1


@pytest.mark.parametrize(
    ("fault", "reason"), [("close", "connection lost"), ("crash_channels", "channel lost")]
)
async def test_what_ends_before_the_silence_is_noticed_has_its_gap_from_the_last_beat_on(
    migrated: FreshDatabase, fault: str, reason: str
) -> None:
    async with staged(migrated, patience=LEISURELY) as stage:
        await stage.ready()
        before = asyncio.get_running_loop().time()
        stage.server.faults.cdc_lost = True
        await insert(migrated)
        stage.server.faults.throw(fault)
        gap = await stage.gap(reason)
        while "leads" not in gap.topics:
            gap = await stage.gap(reason)

        assert gap.opened < before
    assert not stage.log.said("canary.missed")


async def test_changes_that_stay_dead_make_us_connect_again_and_not_be_ready_until_they_live(
    migrated: FreshDatabase,
) -> None:
    async with staged(migrated) as stage:
        await stage.ready()
        stage.server.faults.cdc_dead = True
        await stage.log.until("canary.missed", kind="changes", remedy="rejoin")
        await stage.log.until("canary.missed", kind="changes", remedy="reconnect")
        await stage.log.until("connection.lost", reason="no canary beat came back")
        (doubt,) = stage.link.doubts
        assert doubt.startswith("no canary beat for ") and doubt.endswith(" s (changes)")
        assert not stage.link.ready
        # Every channel is ready again, and still nothing proves that changes come.
        await stage.log.until("canary.missed", kind="changes", remedy="reconnect")
        assert not stage.log.said("gap.closed", reason="no canary beat")

        stage.server.faults.cdc_dead = None
        gap = await stage.gap("no canary beat")
        await insert(migrated)
        await next_of(Change, stage.ear)

        assert gap.tables == {"public.leads"}
        assert stage.link.ready
    assert not stage.log.said("canary.missed", kind="broadcast")


async def test_broadcasts_that_died_are_noticed_by_the_other_canary(
    migrated: FreshDatabase,
) -> None:
    async with staged(migrated) as stage:
        await stage.ready()
        stage.server.faults.broadcasts_dead = True
        await stage.log.until("canary.missed", kind="broadcast", remedy="reconnect")
        stage.server.faults.broadcasts_dead = None
        await stage.log.until("canary.back", kind="broadcast")
        gaps = [await stage.gap("no canary beat") for _ in (LEADS, ROOM)]

        assert {topic for gap in gaps for topic in gap.topics} == {"leads", "room"}
    assert not stage.log.said("canary.missed", kind="changes")


async def test_a_canary_that_had_to_join_again_by_itself_has_the_older_channels_join_again(
    migrated: FreshDatabase,
) -> None:
    """A beat proves nothing for a subscription that is older than the canary's."""
    async with staged(migrated, patience=LEISURELY) as stage:
        await stage.ready()
        (connection,) = stage.server.connections
        leads = connection.channels["realtime:leads"].changes
        assert leads is not None
        leads.lost = True
        connection.channels["realtime:tidemark-canary:changes:w0rk3r:0"].crash()
        gap = await stage.gap("canary joined again")
        await insert(migrated)
        await next_of(Change, stage.ear)

        assert gap.topics == {"leads"}
        assert stage.link.ready
    assert not stage.log.said("canary.missed")
    assert len(stage.log.said("connection.opened")) == 1


async def test_a_beat_that_was_skipped_is_a_gap_and_nothing_else(migrated: FreshDatabase) -> None:
    """As when the rate limit of a project skips changes without a word."""
    async with staged(migrated, patience=LEISURELY) as stage:
        await stage.ready()
        before = asyncio.get_running_loop().time()
        stage.server.faults.cdc_dead = True
        await stage.row.more(2)
        await passed(migrated, stage.ear)
        stage.server.faults.cdc_dead = None
        gap = await stage.gap("canary beat lost")

        assert gap.tables == {"public.leads"}
        assert gap.opened < before < gap.closed
    assert not stage.log.said("canary.missed") and not stage.log.said("channel.left")


async def test_a_listener_that_takes_nothing_is_no_silence_of_the_server(
    migrated: FreshDatabase,
) -> None:
    async with staged(migrated, patience=PATIENT) as stage:
        await stage.ready()
        stage.ear.listens.clear()
        await insert(migrated, rows=1000)
        await stage.row.more(20)  # longer than a canary is waited for, both times
        stage.ear.listens.set()
        for _ in range(1000):
            await next_of(Change, stage.ear)
        await stage.row.more(10)

        assert stage.link.ready
    assert not stage.log.said("canary.missed")


async def test_a_database_that_hangs_is_no_silence_of_the_server(
    cluster: Cluster, migrated: FreshDatabase
) -> None:
    async with doorway(cluster.port) as door:
        url = migrated.url.replace(f":{cluster.port}/", f":{door.port}/")
        async with staged(migrated, row_in=url, patience=PATIENT) as stage:
            await stage.ready()
            door.freeze()
            said = await stage.log.until("canary.unwritten")
            door.thaw()
            await stage.row.more(10)

            assert said["reason"] == "no answer to a statement in time"
            assert stage.link.ready
        assert not stage.log.said("canary.missed")
        assert len(stage.log.said("canary.unwritten")) == 1


@pytest.fixture
async def neon(cluster: Cluster) -> AsyncIterator[FreshDatabase]:
    """A migrated database that is no Supabase project's."""
    async with administering(cluster) as admin:
        await admin.execute("create database template_elsewhere owner postgres")
    async with cloned(cluster, "template_elsewhere") as elsewhere:
        await migrate(elsewhere.url, default_directory())
        yield elsewhere
    async with administering(cluster) as admin:
        await admin.execute("drop database template_elsewhere")


@pytest.mark.parametrize("is_published", [True, False])
async def test_where_the_database_is_not_the_project_s_only_broadcasts_are_watched(
    migrated: FreshDatabase, neon: FreshDatabase, is_published: bool
) -> None:
    if not is_published:
        async with admin(migrated) as connection:
            await connection.execute(
                "alter publication supabase_realtime drop table tidemark.beats"
            )
    async with staged(migrated, row_in=neon.url) as stage:
        said = await stage.log.until("canary.disabled", kind="changes")
        assert "it is not the project's database" in said["reason"]
        stage.server.faults.broadcasts_dead = True
        await stage.log.until("canary.missed", kind="broadcast", remedy="reconnect")
        stage.server.faults.broadcasts_dead = None
        await stage.log.until("canary.back", kind="broadcast")

        assert stage.link.doubts == []
    assert len(stage.log.said("canary.disabled")) == 1
    assert not stage.log.said("canary.missed", kind="changes")
    assert not stage.log.said("channel.refused")


async def test_beats_may_leave_the_publication_and_come_back_to_it(
    migrated: FreshDatabase,
) -> None:
    async with staged(migrated, publication_check=0.1) as stage:
        await stage.ready()
        async with admin(migrated) as connection:
            alter = "alter publication supabase_realtime {} table tidemark.beats"
            await connection.execute(alter.format("drop"))
            said = await stage.log.until("canary.disabled", kind="changes")
            assert said["reason"] == (
                "the publication supabase_realtime does not carry tidemark.beats"
            )
            await connection.execute(alter.format("add"))
        await stage.log.until("canary.enabled", kind="changes")


async def test_where_only_private_channels_are_allowed_the_canary_is_private(
    migrated: FreshDatabase,
) -> None:
    room = Subscription("room", broadcast=True, private=True)
    came = asyncio.Event()

    def tap(what: bytes | Gap) -> None:
        if isinstance(what, bytes) and b"beat" in what and b'"number":' in what:
            came.set()

    async with staged(migrated, wanted=[room], private_only=True, tap=tap) as stage:
        await came.wait()
        stage.server.faults.broadcasts_dead = True
        await stage.log.until("canary.missed", kind="broadcast")
        stage.server.faults.broadcasts_dead = None
        await stage.log.until("canary.back", kind="broadcast")

    assert not stage.log.said("canary.disabled")


async def test_a_worker_that_signs_in_as_a_user_hears_its_beats(migrated: FreshDatabase) -> None:
    async with staged(migrated, role="authenticated") as stage:
        await stage.ready()
        stage.server.faults.cdc_lost = True
        await stage.log.until("canary.missed", kind="changes")
        await stage.log.until("canary.back", kind="changes")

    assert not stage.log.said("canary.disabled")


async def test_each_worker_hears_its_own_beats_and_no_other_s(migrated: FreshDatabase) -> None:
    heard: list[bytes] = []

    def tap(what: bytes | Gap) -> None:
        if isinstance(what, bytes) and b"tidemark-canary:changes" in what:
            heard.append(what)

    async with staged(migrated, patience=LEISURELY, tap=tap) as stage:
        await stage.ready()
        other = Row(Database(migrated.url, size=1), "other")
        for number in range(100, 105):
            await other.write(number)
        await stage.row.more(2)
        await other._database.close()

    assert not any(b'"other"' in frame for frame in heard)
    assert any(b'"w0rk3r"' in frame for frame in heard)


async def test_each_socket_has_canaries_of_its_own_within_the_limit_of_channels(
    migrated: FreshDatabase,
) -> None:
    rooms = [Subscription(f"room-{number}", broadcast=True) for number in range(150)]
    async with staged(migrated, patience=LEISURELY, wanted=[LEADS, *rooms]) as stage:
        await stage.ready()
        sessions = [line.session for line in stage.link.lines]

        assert [session and len(session.channels) for session in sessions] == [100, 54]
        assert stage.link.ready
    assert not stage.log.said("channel.lost") and not stage.log.said("canary.disabled")
