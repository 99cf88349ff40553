"""Who is told of an approval, and when?"""

from __future__ import annotations

from uuid import uuid4

from handlers import approval_notices
from tests.support.handling import asked, change, routed


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
    assert await routed(unsettled, "approval_notices") == []
