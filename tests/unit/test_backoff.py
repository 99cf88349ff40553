"""How long to wait before the next attempt?"""

from itertools import islice

from worker.backoff import waits


def test_waits_stay_under_a_bound_that_doubles_up_to_the_cap() -> None:
    drawn = [list(islice(waits(first=1, cap=8), 6)) for _ in range(500)]

    for place, bound in enumerate([1, 2, 4, 8, 8, 8]):
        here = [waits_[place] for waits_ in drawn]
        assert min(here) >= 0 and max(here) <= bound
        assert max(here) > bound * 0.9, "full jitter reaches up to its bound"
        assert min(here) < bound * 0.1, "full jitter reaches down to nothing"


def test_waiting_never_ends() -> None:
    assert len(list(islice(waits(first=1, cap=2), 5000))) == 5000
