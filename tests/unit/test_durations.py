"""How long is `1m30s`?"""

from __future__ import annotations

import pytest

from worker.cli.durations import seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30),
        ("1m", 60),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1m30s", 90),
        ("250ms", 0.25),
        ("1.5m", 90),
        ("1d", 86400),
        ("45", 45),
        (" 10S ", 10),
    ],
)
def test_a_length_of_time_is_understood(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "soon", "m", "1x", "-3s", "1m soon", "0s", "0", "1 m"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"length of time|longer than nothing"):
        seconds(text)
