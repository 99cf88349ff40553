"""Has each switch its row in the page of operations, and each row its switch?"""

from __future__ import annotations

import pytest

from local.realtime.faults import Faults
from tests.faults.__main__ import PAGE
from tests.faults.cases import CASES
from tests.faults.table import BEGIN, END, described, rows_of, written_into


def test_every_switch_is_played_and_no_other() -> None:
    assert {case.switch for case in CASES} == set(Faults.switches())


def test_no_case_is_played_twice() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_the_page_says_of_each_fault_what_the_cases_say() -> None:
    """`make faults` writes it; the figures are whatever was measured."""
    rows = rows_of(PAGE.read_text())
    wanted = described(CASES)

    assert len(rows) == len(wanted)
    assert [one for one, row in zip(wanted, rows, strict=True) if not row.startswith(one)] == []


def test_the_table_replaces_the_one_before_and_nothing_else() -> None:
    page = f"above\n{BEGIN}\nold\n{END}\nbelow\n"
    once = written_into(page, ["| `close` | … |"])

    assert rows_of(once) == ["| `close` | … |"]
    assert once.startswith("above\n") and once.endswith("\nbelow\n") and "old" not in once
    assert written_into(once, ["| `close` | … |"]) == once


def test_a_page_without_a_place_for_the_table_is_named() -> None:
    with pytest.raises(ValueError, match="faults: written by"):
        written_into("nothing here", [])
