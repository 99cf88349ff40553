"""How long to wait before the next attempt?"""

from itertools import accumulate, islice, repeat

from worker.backoff import reconnects, waits


def test_waits_stay_under_a_bound_that_doubles_up_to_the_cap() -> None:
    drawn = [list(islice(waits(first=1, cap=8), 6)) for _ in range(500)]

    for place, bound in enumerate([1, 2, 4, 8, 8, 8]):
        here = [waits_[place] for waits_ in drawn]
        assert min(here) >= 0 and max(here) <= bound
        assert max(here) > bound * 0.9, "full jitter reaches up to its bound"
        assert min(here) < bound * 0.1, "full jitter reaches down to nothing"


def test_waiting_never_ends() -> None:
    assert len(list(islice(waits(first=1, cap=2), 5000))) == 5000


def test_there_are_never_more_than_ten_attempts_to_connect_in_the_first_thirty_seconds() -> None:
    drawn = [list(accumulate(islice(reconnects(), 20))) for _ in range(500)]
    drawn.append(list(accumulate(islice(reconnects(repeat(0.1)), 20))))  # the worst that may come

    attempts = [1 + sum(at < 30 for at in times) for times in drawn]
    assert max(attempts) == 10, "the first comes at once"
    assert sum(attempts) / len(attempts) < 9, "usually there are fewer"
