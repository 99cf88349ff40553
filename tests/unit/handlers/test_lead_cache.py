"""Is a lead recalled as it was last heard of?"""

from __future__ import annotations

from handlers import lead_cache
from records.leads import Lead
from tests.support.handling import LEAD, asked, change
from worker.effects import Drop, Put


async def test_a_lead_is_recalled_as_it_was_last_heard_of() -> None:
    (put,) = await asked(lead_cache.keep_lead, change("leads", "UPDATE", LEAD, LEAD))
    assert put == Put("lead", LEAD["id"], Lead.from_row(LEAD))
    assert put.value.name == "Ada Low" and put.value.updated_at.microsecond == 482123

    (gone,) = await asked(lead_cache.keep_lead, change("leads", "DELETE", {}, LEAD))
    assert gone == Drop("lead", LEAD["id"])
    cut = {name: value for name, value in LEAD.items() if name != "metadata"}
    (partly,) = await asked(lead_cache.keep_lead, change("leads", "UPDATE", cut, LEAD))
    assert partly == Drop("lead", LEAD["id"]), "what came in part is read again"
