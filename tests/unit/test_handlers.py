"""Does every handler keep the contract, and ask for what it promises?"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

import pytest

import handlers
from handlers import approval_notices, audit, gaps, lead_cache, lead_notices
from records import agents
from records.agents import Agent
from records.leads import Lead
from worker import Change, Effects, Gap
from worker.cache import find
from worker.effects import KINDS, Audit, Count, Drop, Notice, Put
from worker.event import Kind
from worker.routing import Route, load

MODULES = [
    importlib.import_module(f"handlers.{info.name}")
    for info in pkgutil.iter_modules(handlers.__path__)
]
ROUTES = load("handlers")

AGENT = "7b0c6c1e-7d5e-4c0b-9a0e-2b1f6c2d9e57"
LEAD: dict[str, Any] = {
    **dict.fromkeys(Lead.__dataclass_fields__),
    "id": "0f0c6c1e-7d5e-4c0b-9a0e-2b1f6c2d9e57",
    "first_name": "Ada",
    "last_name": "Low",
    "status": "new",
    "assigned_agent": AGENT,
    "metadata": {},
    "updated_at": "2026-11-22T14:03:11.482123+00:00",
}


@pytest.fixture(autouse=True)
def offline() -> Iterator[None]:
    """No handler reads a database here; the agent is the one that was put."""
    agents.recalled.clear()
    agents.recalled.put(AGENT, Agent.from_row({"id": AGENT, "name": "Al"}))
    yield
    agents.recalled.clear()


def change(table: str, kind: Kind, record: dict[str, Any], old: dict[str, Any]) -> Change:
    return Change(
        id=UUID(int=7), schema="public", name=table, kind=kind, record=record, old=old
    )  # fmt: skip


async def asked(handler: Any, event: Any) -> list[Any]:
    do = Effects(event, handler.__name__)
    await handler(event, do)
    return do.asked


async def routed(event: Change) -> list[str]:
    """What each handler that wants the event asks for, in order."""
    said = []
    for route in ROUTES.matching(event):
        do = Effects(event, route.handler_name)
        await route.handler(event, do)
        said += [
            f"{route.handler_name}: {getattr(effect, 'kind', None) or KINDS[type(effect)]}"
            for effect in do.asked
        ]
    return said


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_handler_module_says_in_one_line_what_it_does(module: ModuleType) -> None:
    assert module.__doc__ is not None and "\n" not in module.__doc__


@pytest.mark.parametrize("route", ROUTES.all, ids=lambda route: route.handler_name)
def test_a_handler_is_a_coroutine_function_that_says_why_redelivery_is_harmless(
    route: Route,
) -> None:
    assert inspect.iscoroutinefunction(route.handler)
    assert inspect.getdoc(route.handler)
    assert route.describe().event


def test_every_module_routes_something() -> None:
    routed = {route.handler_name.partition(".")[0] for route in ROUTES.all}

    assert routed == {module.__name__.removeprefix("handlers.") for module in MODULES}


def test_every_cache_is_found_by_name() -> None:
    caches = find("handlers", "records")

    assert [caches[name].name for name in ("lead", "approval", "agent")]


@pytest.mark.parametrize("kind", ["INSERT", "UPDATE", "DELETE"])
async def test_every_change_of_a_routed_table_is_audited(kind: Kind) -> None:
    for table in ("leads", "approvals", "events", "agents"):
        event = change(table, kind, {"id": "1"}, {"id": "1"})
        (route,) = [route for route in ROUTES.matching(event) if route.handler is audit.write_down]
        assert await asked(route.handler, event) == [Audit(event)]


async def test_a_lead_is_recalled_as_it_was_last_heard_of() -> None:
    (put,) = await asked(lead_cache.keep_lead, change("leads", "UPDATE", LEAD, LEAD))
    assert put == Put("lead", LEAD["id"], Lead.from_row(LEAD))
    assert put.value.name == "Ada Low" and put.value.updated_at.microsecond == 482123

    (gone,) = await asked(lead_cache.keep_lead, change("leads", "DELETE", {}, LEAD))
    assert gone == Drop("lead", LEAD["id"])
    cut = {name: value for name, value in LEAD.items() if name != "metadata"}
    (partly,) = await asked(lead_cache.keep_lead, change("leads", "UPDATE", cut, LEAD))
    assert partly == Drop("lead", LEAD["id"]), "what came in part is read again"


async def test_a_lead_that_changes_status_or_hands_tells_its_agent() -> None:
    won = {**LEAD, "status": "won"}
    alone = {**LEAD, "assigned_agent": None}

    assert await routed(change("leads", "UPDATE", won, LEAD)) == [
        "audit.write_down: audit",
        "lead_cache.keep_lead: put",
        "lead_notices.status_changed: lead-status-changed",
    ]
    assert "lead_notices.assigned: lead-assigned" in await routed(
        change("leads", "UPDATE", LEAD, alone)
    )
    assert "lead_notices.assigned: lead-assigned" in await routed(
        change("leads", "INSERT", LEAD, {})
    )
    for quiet in (
        change("leads", "INSERT", alone, {}),
        change("leads", "UPDATE", {**LEAD, "city": "x"}, LEAD),
        change("leads", "UPDATE", {**alone, "status": "won"}, LEAD),
        change("leads", "DELETE", {}, LEAD),
    ):
        assert not [said for said in await routed(quiet) if "lead_notices" in said]


async def test_an_agent_who_has_left_is_told_nothing() -> None:
    agents.recalled.put(AGENT, Agent.from_row({"id": AGENT, "active": False}))

    assert await asked(lead_notices.assigned, change("leads", "INSERT", LEAD, {})) == []


async def test_the_same_change_again_asks_for_the_same_notification() -> None:
    event = change("leads", "UPDATE", {**LEAD, "status": "won"}, LEAD)
    first = await asked(lead_notices.status_changed, event)

    assert first == await asked(lead_notices.status_changed, event)
    (notice,) = first
    assert isinstance(notice, Notice) and notice.recipient == AGENT
    assert notice.data["before"] == "new" and notice.data["status"] == "won"


async def test_approvals_tell_who_is_asked_and_then_who_asked() -> None:
    approval = {"id": str(uuid4()), "requested_by": "a", "requested_of": "b", "status": "pending"}
    done = {**approval, "status": "approved", "decided_by": "b"}

    (asks,) = await asked(approval_notices.asked, change("approvals", "INSERT", approval, {}))
    assert (asks.recipient, asks.kind) == ("b", "approval-asked")
    (tells,) = await asked(approval_notices.decided, change("approvals", "UPDATE", done, approval))
    assert (tells.recipient, tells.kind, tells.data["status"]) == (
        "a",
        "approval-decided",
        "approved",
    )
    unsettled = change("approvals", "UPDATE", {**approval, "note": "x"}, approval)
    assert not [said for said in await routed(unsettled) if "approval_notices" in said]


async def test_gaps_are_counted_by_reason() -> None:
    gap = Gap(
        id=uuid4(), reason="start", tables=frozenset(), topics=frozenset(), opened=0, closed=1
    )

    assert await asked(gaps.count_gap, gap) == [Count("gaps", 1, {"reason": "start"})]
