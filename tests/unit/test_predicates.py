"""Which row does a predicate ask, and what does it say when it cannot know?"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker import Change, changed, either, one_of, was, where
from worker.event import Kind
from worker.routing import Predicate

ID = UUID(int=1)
NEW, OLD = {"city": "Toronto", "n": 1}, {"city": "Ottawa", "n": 1}


def change(kind: Kind, record: Any = None, old: Any = None, **columns: str) -> Change:
    return Change(
        id=ID,
        schema="public",
        name="leads",
        kind=kind,
        record=record or {},
        old=old or {},
        columns=columns,
    )


INSERT = change("INSERT", NEW)
UPDATE = change("UPDATE", NEW, OLD)
DELETE = change("DELETE", old=OLD)
READ = change("READ", NEW)
TRUNCATE = change("TRUNCATE")


@pytest.mark.parametrize(
    ("predicate", "insert", "update", "delete", "read"),
    [
        (where(city="Toronto"), True, True, False, True),
        (where(city="Ottawa"), False, False, True, False),
        (was(city="Ottawa"), False, True, True, False),
        (was(city="Toronto"), False, False, False, False),
        (either(city="Ottawa"), False, True, True, False),
        (either(city="Toronto"), True, True, False, True),
        (changed("city"), True, True, True, True),
        (changed("n"), True, False, True, True),
        (changed("n", "city"), True, True, True, True),
        (where(nowhere=1), None, None, None, None),
        (was(nowhere=1), False, None, None, False),
        (changed("nowhere"), True, None, True, True),
        (one_of("city", ["Toronto", "Ottawa"]), True, True, True, True),
        (one_of("city", ["Halifax"]), False, False, False, False),
        (one_of("nowhere", ["Halifax"]), None, None, None, None),
    ],
)
def test_each_kind_asks_the_row_that_is_documented(
    predicate: Predicate, insert: Any, update: Any, delete: Any, read: Any
) -> None:
    assert predicate(INSERT) is insert
    assert predicate(UPDATE) is update
    assert predicate(DELETE) is delete
    assert predicate(READ) is read
    assert predicate(TRUNCATE) is None


def test_without_the_old_row_a_change_of_status_cannot_be_ruled_out() -> None:
    key_only = change("UPDATE", {"id": 1, "status": "won"}, {"id": 1})

    assert changed("status")(key_only) is None
    assert changed("id")(key_only) is False
    assert changed("status", "id")(key_only) is None


def test_a_column_left_out_for_its_size_is_not_known() -> None:
    too_large = change("UPDATE", {"id": 1}, {"id": 1, "note": "a"})

    assert changed("note")(too_large) is None
    assert where(note="a")(too_large) is None
    assert where(note="a", id=2)(too_large) is False, "one definite no is enough"


def test_null_is_a_value_and_true_is_not_one() -> None:
    row = change("INSERT", {"agent": None, "n": 1, "active": True})

    assert where(agent=None)(row) is True
    assert where(n=None)(row) is False
    assert where(n=True)(row) is False
    assert where(active=1)(row) is False


def test_nothing_is_cut_from_null() -> None:
    null = change("UPDATE", {"code": None}, {"code": None}, code="bpchar")

    assert changed("code")(null) is False
    assert where(code="abc")(null) is False
    assert where(code=None)(null) is True


def test_values_that_realtime_cuts_are_not_told_apart() -> None:
    cut = change("UPDATE", {"code": "a"}, {"code": "a"}, code="bpchar")

    assert changed("code")(cut) is None
    assert where(code="abc")(cut) is None
    assert where(code="xbc")(cut) is False


@given(st.sampled_from([True, False, None]), st.sampled_from([True, False, None]))
def test_combinations_follow_three_valued_logic(one: bool | None, two: bool | None) -> None:
    first, second = Predicate(lambda _: one, "first"), Predicate(lambda _: two, "second")
    rank = {False: 0, None: 1, True: 2}

    assert rank[(first & second)(INSERT)] == min(rank[one], rank[two])
    assert rank[(first | second)(INSERT)] == max(rank[one], rank[two])
    assert rank[(~first)(INSERT)] == 2 - rank[one]


def test_a_predicate_reads_as_a_sentence() -> None:
    predicate = changed("status", "assigned_agent") & ~(where(city="Toronto") | was(agent=None))

    assert predicate.sentence() == (
        "status or assigned_agent changed and not (city is 'Toronto' or agent was null)"
    )


def test_a_predicate_about_nothing_is_refused() -> None:
    for empty in (changed, where, was, either):
        with pytest.raises(TypeError):
            empty()
    with pytest.raises(TypeError):
        one_of("city", "Toronto")
