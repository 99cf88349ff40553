"""Who is told when a lead changes status or hands?"""

from __future__ import annotations

from handlers import lead_notices
from records import agents
from records.agents import Agent
from tests.support.handling import AGENT, LEAD, asked, change, routed
from worker.effects import Notice


async def test_a_lead_that_changes_status_or_hands_tells_its_agent() -> None:
    won = {**LEAD, "status": "won"}
    alone = {**LEAD, "assigned_agent": None}

    for loud, notices in (
        (change("leads", "UPDATE", won, LEAD), ["status_changed: lead-status-changed"]),
        (change("leads", "UPDATE", LEAD, alone), ["assigned: lead-assigned"]),
        (change("leads", "INSERT", LEAD, {}), ["assigned: lead-assigned"]),
    ):
        assert await routed(loud, "lead_notices") == [f"lead_notices.{it}" for it in notices]
    for quiet in (
        change("leads", "INSERT", alone, {}),
        change("leads", "UPDATE", {**LEAD, "city": "x"}, LEAD),
        change("leads", "UPDATE", {**alone, "status": "won"}, LEAD),
        change("leads", "DELETE", {}, LEAD),
    ):
        assert await routed(quiet, "lead_notices") == []


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
