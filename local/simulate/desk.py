"""What can somebody at RE Engine do next?"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from local.simulate import words
from local.simulate.known import FUNNEL, VERDICTS, Known
from local.simulate.step import FromNow, Mailbox, Row, Step, Values

RECEIPTS = ("queued", "sent", "delivered", "read")

SHARED_LEADS = 3  # numbered -1 to -3: the rows that every writer updates
AGENTS = 8  # made where there are none


class Desk:
    """One writer: draws steps that are possible, and remembers those that last."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.known = Known()
        self._numbers = itertools.count(1)

    def copied(self) -> Desk:
        """A desk to plan on what will be undone. Numbers go on: none is used twice."""
        copy = Desk(self.rng)
        copy.known, copy._numbers = self.known.copied(), self._numbers
        return copy

    def draw(self, *, shared: bool = True) -> Step:
        """A possible step; without `shared` one on rows of our own."""
        while True:
            choose = self.rng.choices(CHOICES, WEIGHTS)[0]
            step = choose(self)
            if step is not None and (shared or not step.shared):
                return step

    def draw_refused(self) -> Step | None:
        """Decide an approval that is decided already: the database says no."""
        if not self.known.decided:
            return None
        return self._decision(self.rng.choice(self.known.decided))

    def book(self, step: Step) -> Step:
        """Remember a step that lasts; return it."""
        self.known.book(step)
        return step

    def create_lead(self) -> Step:
        number = next(self._numbers)
        return Step("lead.created", "insert", "leads", (number,), (self._lead(number),))

    def import_leads(self) -> Step:
        numbers = tuple(itertools.islice(self._numbers, self.rng.randint(2, 6)))
        values = tuple(self._lead(number) | {"source": "import"} for number in numbers)
        return Step("lead.imported", "insert", "leads", numbers, values, changes=len(numbers))

    def move_lead(self) -> Step | None:
        open_ = [n for n, lead in self.known.leads.items() if lead.stage < len(FUNNEL) - 1]
        if not open_:
            return None
        number = self.rng.choice(open_)
        lost = self.rng.random() < 0.1
        status = "lost" if lost else FUNNEL[self.known.leads[number].stage + 1]
        return self._update("lead.moved", "leads", number, {"status": status})

    def move_leads(self) -> Step | None:
        """Several rows of one statement."""
        fresh = [number for number, lead in self.known.leads.items() if lead.stage == 0]
        if len(fresh) < 3:
            return None
        numbers = tuple(self.rng.sample(fresh, 3))
        return Step("lead.moved", "update", "leads", numbers, ({"status": FUNNEL[1]},), changes=3)

    def assign_lead(self) -> Step | None:
        return self._update_lead("lead.assigned", {"assigned_agent": self._agent()})

    def update_lead(self) -> Step | None:
        return self._update_lead("lead.updated", words.lead_details(self.rng))

    def update_shared_lead(self) -> Step:
        number = -self.rng.randint(1, SHARED_LEADS)
        return self._update("lead.updated", "leads", number, words.lead_details(self.rng))

    def delete_lead(self) -> Step | None:
        number = self._any_lead()
        if number is None:
            return None
        lead = self.known.leads[number]
        # Its events go with it, its approvals stay without it.
        changes = 1 + len(lead.events) + len(lead.approvals)
        return Step("lead.deleted", "delete", "leads", (number,), changes=changes)

    def log_event(self) -> Step | None:
        lead = self._any_lead()
        if lead is None:
            return None
        values = words.event(self.rng) | {"lead_id": Row("leads", lead), "agent_id": self._agent()}
        values |= {"status": RECEIPTS[0], "occurred_at": FromNow(-self.rng.uniform(0, 60))}
        return Step("event.logged", "insert", "events", (next(self._numbers),), (values,))

    def deliver_event(self) -> Step | None:
        waiting = [
            (number, receipt)
            for lead in self.known.leads.values()
            for number, receipt in lead.events.items()
            if receipt < len(RECEIPTS) - 1
        ]
        if not waiting:
            return None
        number, receipt = self.rng.choice(waiting)
        return self._update("event.delivered", "events", number, {"status": RECEIPTS[receipt + 1]})

    def delete_event(self) -> Step | None:
        numbers = [n for lead in self.known.leads.values() for n in lead.events]
        if not numbers:
            return None
        return Step("event.deleted", "delete", "events", (self.rng.choice(numbers),))

    def ask_approval(self) -> Step | None:
        lead = self._any_lead()
        if lead is None:
            return None
        values = words.approval(self.rng) | {
            "lead_id": Row("leads", lead),
            "requested_by": self._agent(),
            "requested_of": self._agent(),
            "expires_at": FromNow(self.rng.choice((60.0, 3600.0, 86_400.0))),
        }
        return Step("approval.asked", "insert", "approvals", (next(self._numbers),), (values,))

    def decide_approval(self) -> Step | None:
        if not self.known.pending:
            return None
        return self._decision(self.rng.choice(list(self.known.pending)))

    def show_agent(self) -> Step:
        number = self.rng.randrange(AGENTS)
        return self._update("agent.active", "agents", number, {"last_active_at": FromNow(0.0)})

    def change_agent(self) -> Step:
        values = {"active": self.rng.random() < 0.9, "capacity": self.rng.randint(5, 40)}
        return self._update("agent.changed", "agents", self.rng.randrange(AGENTS), values)

    def _decision(self, number: int) -> Step:
        verdict = self.rng.choice(VERDICTS)
        values: Values = {"status": verdict, "decided_at": FromNow(0.0)}
        if verdict in ("approved", "rejected"):
            values = {**values, "decided_by": self._agent(), "note": words.sentence(self.rng)}
        return self._update(f"approval.{verdict}", "approvals", number, values)

    def _update_lead(self, kind: str, values: Values) -> Step | None:
        number = self._any_lead()
        return None if number is None else self._update(kind, "leads", number, values)

    def _update(self, kind: str, table: str, number: int, values: Values) -> Step:
        return Step(kind, "update", table, (number,), (values,))

    def _lead(self, number: int) -> dict[str, object]:
        return {**words.lead(self.rng), "email": Mailbox(number), "status": FUNNEL[0]}

    def _any_lead(self) -> int | None:
        return self.rng.choice(list(self.known.leads)) if self.known.leads else None

    def _agent(self) -> Row:
        return Row("agents", self.rng.randrange(AGENTS))


CHOICES: tuple[Callable[[Desk], Step | None], ...]
WEIGHTS: tuple[int, ...]
CHOICES, WEIGHTS = zip(
    (Desk.create_lead, 18),
    (Desk.import_leads, 1),
    (Desk.move_lead, 18),
    (Desk.move_leads, 1),
    (Desk.assign_lead, 11),
    (Desk.update_lead, 9),
    (Desk.update_shared_lead, 3),
    (Desk.delete_lead, 2),
    (Desk.log_event, 16),
    (Desk.deliver_event, 5),
    (Desk.delete_event, 1),
    (Desk.ask_approval, 6),
    (Desk.decide_approval, 5),
    (Desk.show_agent, 8),
    (Desk.change_agent, 1),
    strict=True,
)
