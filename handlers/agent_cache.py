"""Keep recalled agents as new as the last change heard of."""

from records.agents import Agent, recalled
from records.columns import whole
from worker import Change, Effects, on


@on.change("public.agents")
async def keep_agent(change: Change, do: Effects) -> None:
    """The same change again keeps the same value: an older one never replaces a newer one."""
    key = str(change.row["id"])
    if change.kind != "DELETE" and whole(Agent, change.record):
        do.put(recalled.name, key, Agent.from_row(change.record))
    else:
        do.drop(recalled.name, key)  # gone, or sent without its largest columns: read it again
