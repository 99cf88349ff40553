"""Tell agents what they are asked to approve, and what became of what they asked for."""

from records.approvals import Approval
from worker import Change, Effects, changed, on, where


@on.change("public.approvals", "INSERT")
async def asked(change: Change, do: Effects) -> None:
    """The notification's id derives from the change: asked for twice, it is sent once."""
    approval = Approval.from_row(change.record)
    if approval.requested_of is not None:
        do.notify(
            "agent",
            approval.requested_of,
            "approval-asked",
            approval_id=approval.id,
            kind_of_approval=approval.kind,
            subject=approval.subject,
            requested_by=approval.requested_by,
            expires_at=approval.expires_at,
        )


@on.change("public.approvals", "UPDATE", when=changed("status") & ~where(status="pending"))
async def decided(change: Change, do: Effects) -> None:
    """The notification's id derives from the change: asked for twice, it is sent once."""
    approval = Approval.from_row(change.record)
    if approval.requested_by is not None:
        do.notify(
            "agent",
            approval.requested_by,
            "approval-decided",
            approval_id=approval.id,
            subject=approval.subject,
            status=approval.status,
            decided_by=approval.decided_by,
            note=approval.note,
        )
