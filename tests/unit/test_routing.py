"""Does each event reach the handlers that want it, and only those?"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from worker import Broadcast, Change, Effects, Gap, Presence, changed, on, where
from worker.errors import ConfigError
from worker.routing import Route, Routes
from worker.routing.declare import declared
from worker.subscription import Binding, Subscription

ID = UUID(int=1)


@on.change("public.leads", "INSERT", "UPDATE", when=changed("status"))
@on.change("public.leads", "UPDATE", when=changed("agent"))
async def lead_moved(change: Change, do: Effects) -> None: ...


@on.change("public.leads", "public.agents")
async def audit(change: Change, do: Effects) -> None: ...


@on.broadcast("office", "bell", private=True)
async def bell(broadcast: Broadcast, do: Effects) -> None: ...


@on.broadcast("office", private=True)
async def office(broadcast: Broadcast, do: Effects) -> None: ...


@on.presence("office", private=True)
async def who(presence: Presence, do: Effects) -> None: ...


@on.gap("public.leads")
async def leads_gap(gap: Gap, do: Effects) -> None: ...


@on.gap()
async def any_gap(gap: Gap, do: Effects) -> None: ...


def routes(*handlers: Any) -> Routes:
    return Routes(
        Route(handler.__name__, handler, wants)
        for handler in handlers
        for wants in declared(handler)
    )


ALL = routes(lead_moved, audit, bell, office, who, leads_gap, any_gap)


def names(event: Any) -> list[str]:
    return [route.handler_name for route in ALL.matching(event)]


def change(table: str, kind: Any, record: Any = None, old: Any = None) -> Change:
    return Change(
        id=ID, schema="public", name=table, kind=kind, record=record or {}, old=old or {}
    )  # fmt: skip


def test_a_change_reaches_each_handler_that_wants_it_once() -> None:
    both = {"status": "new", "agent": 1}, {"status": "won", "agent": 2}

    assert names(change("leads", "UPDATE", *both)) == ["lead_moved", "audit"]
    assert names(change("leads", "INSERT", {"status": "new"})) == ["lead_moved", "audit"]
    assert names(change("leads", "UPDATE", both[0], both[0])) == ["audit"]
    assert names(change("leads", "DELETE")) == ["audit"]
    assert names(change("agents", "DELETE")) == ["audit"]


def test_what_nobody_asked_for_reaches_nobody() -> None:
    assert names(change("users", "INSERT")) == []
    assert names(change("leads", "TRUNCATE")) == [], "no kinds means INSERT, UPDATE and DELETE"
    assert names(change("leads", "READ")) == []
    assert names(Broadcast(id=ID, topic="street", event="bell", payload={})) == []
    assert names(Presence(id=ID, topic="street", joins={}, leaves={})) == []


def test_broadcasts_presence_and_gaps_go_by_topic_event_and_table() -> None:
    def gap(*tables: str) -> Gap:
        return Gap(
            id=ID, reason="test", tables=frozenset(tables), topics=frozenset(), opened=0, closed=1
        )

    assert names(Broadcast(id=ID, topic="office", event="bell", payload={})) == ["bell", "office"]
    assert names(Broadcast(id=ID, topic="office", event="door", payload=b"")) == ["office"]
    assert names(Presence(id=ID, topic="office", joins={}, leaves={})) == ["who"]
    assert names(gap("public.leads", "public.agents")) == ["leads_gap", "any_gap"]
    assert names(gap("public.agents")) == ["any_gap"]


def test_each_table_and_each_topic_has_one_channel_to_itself() -> None:
    assert ALL.wanted() == (
        Subscription("tidemark:public.agents", (Binding("public", "agents", "*"),)),
        Subscription("tidemark:public.leads", (Binding("public", "leads", "*"),)),
        Subscription("office", broadcast=True, presence=True, private=True),
    )
    assert ALL.tables == {"public.leads", "public.agents"}


@pytest.mark.parametrize("topic", ["tidemark:public.leads", "tidemark-canary"])
def test_a_topic_of_the_workers_own_cannot_be_asked_for(topic: str) -> None:
    @on.broadcast(topic)
    async def heard(broadcast: Broadcast, do: Effects) -> None: ...

    with pytest.raises(ConfigError, match="is the worker's own"):
        routes(heard)


def test_one_topic_cannot_be_both_private_and_public() -> None:
    @on.broadcast("office")
    async def public(broadcast: Broadcast, do: Effects) -> None: ...

    with pytest.raises(ConfigError, match="'office' is wanted both private and public"):
        routes(bell, public)


def test_a_route_describes_itself() -> None:
    @on.change("public.leads", "INSERT", when=where(city="Toronto"))
    async def toronto(change: Change, do: Effects) -> None: ...

    (route,) = routes(toronto).all
    said = route.describe()

    assert said.event == "public.leads: INSERT"
    assert said.when == "city is 'Toronto'"
    assert said.handler == "toronto"
    assert said.filter == "city=eq.Toronto"
    assert [route.describe().event for route in ALL.all][-4:] == [
        "broadcast office: *",
        "presence office",
        "gap public.leads",
        "gap",
    ]
