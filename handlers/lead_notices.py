"""Tell the agents concerned when a lead changes status or hands."""

from records import agents
from records.leads import Lead
from worker import Change, Effects, changed, on, where


@on.change("public.leads", "UPDATE", when=changed("status") & ~where(assigned_agent=None))
async def status_changed(change: Change, do: Effects) -> None:
    """The notification's id derives from the change: asked for twice, it is sent once."""
    lead = Lead.from_row(change.record)
    if lead.assigned_agent is not None and await _works(lead.assigned_agent):
        do.notify(
            "agent",
            lead.assigned_agent,
            "lead-status-changed",
            lead_id=lead.id,
            name=lead.name,
            before=change.old.get("status"),
            status=lead.status,
        )


@on.change(
    "public.leads",
    "INSERT",
    "UPDATE",
    when=changed("assigned_agent") & ~where(assigned_agent=None),
)
async def assigned(change: Change, do: Effects) -> None:
    """The notification's id derives from the change: asked for twice, it is sent once."""
    lead = Lead.from_row(change.record)
    if lead.assigned_agent is not None and await _works(lead.assigned_agent):
        do.notify(
            "agent",
            lead.assigned_agent,
            "lead-assigned",
            lead_id=lead.id,
            name=lead.name,
            city=lead.city,
            status=lead.status,
        )


async def _works(agent_id: str) -> bool:
    """An agent who has left is told nothing. One we cannot look up may be at work."""
    agent = await agents.recalled.get(agent_id)
    return agent is None or agent.active
