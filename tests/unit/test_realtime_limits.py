"""Is a limit noticed as late, and forgotten as late, as in the real server?"""

from __future__ import annotations

from local.realtime.limits import BUCKETS, Rate, Window


def after(rate: Rate, *counts: int) -> list[bool]:
    """Whether the limit is triggered after each tick in which so much was counted."""
    seen = []
    for number in counts:
        rate.count(number)
        rate.tick()
        seen.append(rate.triggered)
    return seen


def test_nothing_is_noticed_before_a_tick_ends() -> None:
    rate = Rate(limit=10, tick=5.0)
    rate.count(1_000_000)

    assert not rate.triggered


def test_the_first_tick_counts_alone() -> None:
    assert after(Rate(limit=10, tick=5.0), 49) == [False]
    assert after(Rate(limit=10, tick=5.0), 50) == [True]


def test_a_burst_among_quiet_ticks_is_averaged_away() -> None:
    assert after(Rate(limit=10, tick=5.0), 0, 0, 0, 199) == [False] * 4
    assert after(Rate(limit=10, tick=5.0), 0, 0, 0, 200) == [False] * 3 + [True]


def test_what_is_to_come_is_added_to_the_average() -> None:
    rate = Rate(limit=10, tick=5.0)
    rate.count(20)
    rate.tick()

    assert rate.has_room_for(6) and not rate.has_room_for(7)
    assert Rate(limit=None, tick=5.0).has_room_for(1_000_000)


def test_a_burst_is_remembered_for_a_minute() -> None:
    burst = 10 * 5 * BUCKETS
    seen = after(Rate(limit=10, tick=5.0), burst, *[0] * BUCKETS)

    assert seen == [True] * BUCKETS + [False]


def test_without_a_limit_nothing_is_too_much() -> None:
    assert after(Rate(limit=None, tick=5.0), 10**9) == [False]


def test_a_window_begins_with_the_first_call_and_then_anew() -> None:
    now = 0.0
    window = Window(limit=2, length=30.0, clock=lambda: now)
    first = [window.allows() for _ in range(3)]
    now = 30.0
    still = window.allows()
    now = 30.1

    assert first == [True, True, False]
    assert (still, window.allows()) == (False, True)
