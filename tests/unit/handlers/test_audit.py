"""Is every change of the RE Engine's tables audited?"""

from __future__ import annotations

import pytest

from handlers import audit
from tests.support.handling import ROUTES, asked, change
from worker.effects import Audit
from worker.event import Kind


@pytest.mark.parametrize("kind", ["INSERT", "UPDATE", "DELETE"])
async def test_every_change_of_a_routed_table_is_audited(kind: Kind) -> None:
    for table in ("leads", "approvals", "events", "agents"):
        event = change(table, kind, {"id": "1"}, {"id": "1"})
        (route,) = [route for route in ROUTES.matching(event) if route.handler is audit.write_down]
        assert await asked(route.handler, event) == [Audit(event)]
