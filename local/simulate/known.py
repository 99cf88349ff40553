"""What does the plan remember of the rows that were written?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from local.simulate.step import Step

FUNNEL = ("new", "contacted", "qualified", "viewing", "offer", "closed")
VERDICTS = ("approved", "approved", "approved", "rejected", "rejected", "expired", "cancelled")

REMEMBERED = 100  # leads, approvals; older ones are left alone, or memory would grow for ever


@dataclass(slots=True)
class Lead:
    """What the plan knows of one lead. `events`: their numbers and receipts."""

    stage: int = 0
    events: dict[int, int] = field(default_factory=dict)
    approvals: set[int] = field(default_factory=set)

    def copied(self) -> Lead:
        return Lead(self.stage, dict(self.events), set(self.approvals))


@dataclass(slots=True)
class Known:
    """The rows of one writer as the transactions committed so far left them."""

    leads: dict[int, Lead] = field(default_factory=dict)
    pending: dict[int, int] = field(default_factory=dict)  # approval → its lead
    decided: list[int] = field(default_factory=list)

    def copied(self) -> Known:
        leads = {number: lead.copied() for number, lead in self.leads.items()}
        return Known(leads, dict(self.pending), list(self.decided))

    def book(self, step: Step) -> None:
        """Remember what a committed step did; forget the oldest."""
        if (booked := BOOKED.get(step.kind)) is not None:
            booked(self, step)
        for remembered in (self.leads, self.pending):
            while len(remembered) > REMEMBERED:
                del remembered[next(iter(remembered))]
        del self.decided[:-REMEMBERED]


def _created(known: Known, step: Step) -> None:
    known.leads.update({number: Lead() for number in step.numbers})


def _moved(known: Known, step: Step) -> None:
    status = step.values[0]["status"]
    for number in step.numbers:
        known.leads[number].stage = len(FUNNEL) if status == "lost" else FUNNEL.index(status)


def _lead_deleted(known: Known, step: Step) -> None:
    del known.leads[step.numbers[0]]


def _logged(known: Known, step: Step) -> None:
    known.leads[step.values[0]["lead_id"].number].events[step.numbers[0]] = 0


def _delivered(known: Known, step: Step) -> None:
    for events in _events_with(known, step.numbers[0]):
        events[step.numbers[0]] += 1


def _event_deleted(known: Known, step: Step) -> None:
    for events in _events_with(known, step.numbers[0]):
        del events[step.numbers[0]]


def _events_with(known: Known, number: int) -> Iterator[dict[int, int]]:
    return (lead.events for lead in known.leads.values() if number in lead.events)


def _asked(known: Known, step: Step) -> None:
    lead = step.values[0]["lead_id"].number
    known.leads[lead].approvals.add(step.numbers[0])
    known.pending[step.numbers[0]] = lead


def _decided(known: Known, step: Step) -> None:
    known.pending.pop(step.numbers[0], None)
    known.decided.append(step.numbers[0])


BOOKED: dict[str, Callable[[Known, Step], None]] = {
    "lead.created": _created,
    "lead.imported": _created,
    "lead.moved": _moved,
    "lead.deleted": _lead_deleted,
    "event.logged": _logged,
    "event.delivered": _delivered,
    "event.deleted": _event_deleted,
    "approval.asked": _asked,
    **{f"approval.{verdict}": _decided for verdict in VERDICTS},
}
