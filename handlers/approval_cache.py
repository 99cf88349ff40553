"""Keep recalled approvals as new as the last change heard of."""

from records.approvals import Approval, recalled
from records.columns import whole
from worker import Change, Effects, on


@on.change("public.approvals")
async def keep_approval(change: Change, do: Effects) -> None:
    """The same change again keeps the same value: an older one never replaces a newer one."""
    key = str(change.row["id"])
    if change.kind != "DELETE" and whole(Approval, change.record):
        do.put(recalled.name, key, Approval.from_row(change.record))
    else:
        do.drop(recalled.name, key)  # gone, or sent without its largest columns: read it again
