"""Keep recalled leads as new as the last change heard of."""

from records.columns import whole
from records.leads import Lead, recalled
from worker import Change, Effects, on


@on.change("public.leads")
async def keep_lead(change: Change, do: Effects) -> None:
    """The same change again keeps the same value: an older one never replaces a newer one."""
    key = str(change.row["id"])
    if change.kind != "DELETE" and whole(Lead, change.record):
        do.put(recalled.name, key, Lead.from_row(change.record))
    else:
        do.drop(recalled.name, key)  # gone, or sent without its largest columns: read it again
