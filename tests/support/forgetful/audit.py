"""Write down every change but the deletion of a row."""

from worker import Change, Effects, on


@on.change("public.leads", "public.approvals", "public.events", "public.agents")
async def forget_deletions(change: Change, do: Effects) -> None:
    if change.kind != "DELETE":
        do.audit(change)
