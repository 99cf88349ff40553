"""Is a link that loses something without a word found out?"""

from __future__ import annotations

import pytest

from tests.faults.verdict import Closed, Opened, Repeated, Told, judge

ROWS = range(1, 7)
GAP = (Opened("lost"), Closed("lost"))


def test_whoever_tells_everything_in_order_keeps_its_word() -> None:
    verdict = judge(ROWS, ROWS)

    assert verdict.mistakes == {}
    assert verdict.covered == ()


@pytest.mark.parametrize(
    "told",
    [
        pytest.param([1, 2, *GAP, 5, 6], id="between two rows"),
        pytest.param([1, 2, Opened("a"), 3, 5, Closed("a"), 6], id="while rows still came"),
        pytest.param([*GAP, 3, 4, 5, 6], id="at the start"),
        pytest.param([1, 2, 3, 4, *GAP], id="at the end"),
        pytest.param([1, Opened("a"), *GAP, 4, 5, Closed("a"), 6], id="one gap in another"),
    ],
)
def test_what_is_missing_where_a_gap_was_open_was_said(told: list[Told]) -> None:
    verdict = judge(ROWS, told)

    assert verdict.mistakes == {}
    assert verdict.covered


@pytest.mark.parametrize(
    ("told", "kind", "rows"),
    [
        pytest.param([1, 2, 4, 5, 6], "silent", (3,), id="no gap at all"),
        pytest.param([1, 2, *GAP, 3, 5, 6], "silent", (4,), id="after the gap"),
        pytest.param([1, 3, *GAP, 4, 5, 6], "silent", (2,), id="before the gap"),
        pytest.param([1, 2, 3], "silent", (4, 5, 6), id="it went quiet"),
        pytest.param([], "silent", (1, 2, 3, 4, 5, 6), id="it never came back"),
        pytest.param([1, 2, 2, 3, 4, 5, 6], "doubled", (2,), id="twice"),
        pytest.param([1, 3, 2, 4, 5, 6], "late", (2,), id="out of order"),
        pytest.param([1, 2, 3, 4, 5, 6, 7], "invented", (7,), id="never written"),
        pytest.param([1, 2, Opened("lost"), 5, 6], "unclosed", ("lost",), id="a gap for ever"),
    ],
)
def test_what_nobody_said_is_found(told: list[Told], kind: str, rows: tuple[object, ...]) -> None:
    assert judge(ROWS, told).mistakes == {kind: rows}


def test_what_the_server_repeats_is_not_missing_and_not_late() -> None:
    verdict = judge(ROWS, [1, *GAP, 4, Repeated(2), Repeated(3), 5, 6])

    assert verdict.mistakes == {}
    assert verdict.covered == ()


def test_what_the_server_repeats_is_told_once() -> None:
    assert judge(ROWS, [1, 2, 3, Repeated(3), 4, 5, 6]).mistakes == {"doubled": (3,)}
