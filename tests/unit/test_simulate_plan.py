"""Is the traffic what was asked for, before any of it is SQL?"""

from __future__ import annotations

import itertools

import pytest

from local.simulate.pace import BLOCK, Pace, stretches
from local.simulate.plan import plan
from local.simulate.step import Transaction


def planned(seed: int, writer: int = 0, rate: float = 50.0) -> list[Transaction]:
    return list(plan(seed, writer, rate, seconds=60.0))


def test_the_same_seed_gives_the_same_plan() -> None:
    assert planned(7) == planned(7)


def test_another_seed_or_another_writer_gives_another_plan() -> None:
    plans = [planned(7), planned(8), planned(7, writer=1)]

    assert all(one != other for one, other in itertools.combinations(plans, 2))


@pytest.mark.parametrize("rate", [0.5, 10.0, 200.0])
def test_a_plan_makes_as_many_changes_as_the_rate_promises(rate: float) -> None:
    changes = sum(transaction.changes for transaction in planned(3, rate=rate))

    assert changes == pytest.approx(rate * 60.0, abs=20.0)


def test_the_rate_is_met_over_every_block_of_time() -> None:
    for block in range(6):
        within = [s for s in stretches(5, 60.0) if block * BLOCK <= s.start < (block + 1) * BLOCK]
        assert sum(s.length * s.factor for s in within) == pytest.approx(BLOCK)


def test_there_are_bursts_and_quiet() -> None:
    factors = [stretch.factor for stretch in stretches(5, 600.0)]

    assert min(factors) < 0.2 and max(factors) > 2.5


def test_changes_come_due_in_order_and_within_the_time() -> None:
    pace = Pace(1, 20.0, 30.0)
    moments = list(itertools.takewhile(lambda at: at is not None, map(pace.due, range(1000))))

    assert len(moments) == pytest.approx(600, abs=1)
    assert moments == sorted(moments, key=lambda at: at or 0.0)
    assert all(at is not None and 0 <= at < 30.001 for at in moments)


def test_every_kind_of_step_and_of_transaction_happens() -> None:
    transactions = planned(2, rate=200.0)
    kinds = {step.kind for transaction in transactions for step in transaction.lasting}
    savepoints = {part.savepoint for transaction in transactions for part in transaction.parts}

    assert kinds >= {
        *("lead.created", "lead.imported", "lead.moved", "lead.assigned", "lead.updated"),
        *("lead.deleted", "event.logged", "event.delivered", "event.deleted", "approval.asked"),
        *("approval.approved", "approval.rejected", "approval.expired", "approval.cancelled"),
        *("agent.active", "agent.changed"),
    }
    assert savepoints == {None, "released", "undone"}
    assert any(not transaction.commits for transaction in transactions)
    assert any(len(transaction.lasting) > 2 for transaction in transactions)


def test_a_shared_row_is_the_last_thing_a_transaction_locks() -> None:
    for transaction in planned(4, rate=200.0):
        for part in transaction.parts:
            assert not any(step.shared for step in part.steps[:-1])


def test_a_plan_for_a_day_remembers_only_so_much() -> None:
    last = 0
    for transaction in itertools.islice(plan(1, 0, 50.0, 86_400.0), 5_000):
        last = max(last, *(step.changes for step in transaction.lasting), 0)

    assert last < 100, "a lead that is deleted has not collected events for ever"
