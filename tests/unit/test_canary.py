"""Which beats are awaited, which are missed, and what is to be done then?"""

from collections.abc import Iterator
from itertools import count

from worker.realtime.canaries.canary import MOST_BEATS, MOST_DELAYS, Came, Canary, Missed
from worker.realtime.heartbeat import NEVER

PATIENCE = 20.0


def hundreds() -> Iterator[float]:
    """100, 200, 300 …: pauses a test can count."""
    return (100.0 * number for number in count(1))


def canary(connected: float = 0.0) -> Canary:
    """One whose channel is ready."""
    new = Canary("changes", patience=PATIENCE, pauses=hundreds)
    new.connected(connected)
    new.flies()
    return new


def send(canary: Canary, number: int, now: float, took: float = 0.0) -> None:
    canary.begun(number, now)
    canary.sent(number, now + took)


def miss(canary: Canary, number: int) -> Missed:
    """Send beats that do not come until that is a miss."""
    send(canary, number, now=0.0)
    assert canary.look(canary.deadline) is None
    send(canary, number + 1, now=0.0)
    missed = canary.look(canary.deadline)
    assert missed is not None
    return missed


def test_a_beat_that_comes_is_timed_from_where_it_was_begun() -> None:
    bird = canary()
    send(bird, 1, now=5.0, took=0.25)

    assert bird.came(1, now=5.5) == Came(seconds=0.5)
    assert bird.deadline == NEVER


def test_a_beat_may_come_before_we_know_that_it_was_sent() -> None:
    bird = canary()
    bird.begun(1, 5.0)
    came = bird.came(1, now=5.5)
    bird.sent(1, 5.75)

    assert came == Came(seconds=0.5)
    assert bird.deadline == NEVER


def test_a_channel_that_got_ready_wants_a_beat_at_once() -> None:
    bird = Canary("changes", patience=PATIENCE, pauses=hundreds)
    bird.connected(0.0)
    assert not bird.wanted

    bird.flies()
    assert bird.wanted

    bird.begun(1, 1.0)
    bird.flies()
    assert not bird.wanted


def test_a_beat_begun_before_the_channel_is_ready_is_not_waited_for() -> None:
    bird = Canary("changes", patience=PATIENCE, pauses=hundreds)
    bird.connected(0.0)
    bird.begun(1, 1.0)
    bird.flies()
    bird.sent(1, 2.0)

    assert bird.deadline == NEVER
    assert bird.came(1, 3.0) is None


def test_a_late_beat_is_followed_by_another_before_anybody_is_blamed() -> None:
    bird = canary()
    send(bird, 1, now=5.0, took=1.0)
    assert bird.deadline == 6.0 + PATIENCE

    assert bird.look(26.0) is None
    assert bird.wanted
    assert bird.deadline == NEVER  # before the database took the second beat

    send(bird, 2, now=27.0)
    assert bird.deadline == 27.0 + PATIENCE / 2


def test_nothing_is_missed_before_its_time() -> None:
    bird = canary()
    send(bird, 1, now=5.0)

    assert bird.look(24.9) is None
    assert not bird.wanted


def test_a_miss_means_joining_again_then_connecting_again() -> None:
    bird = canary()
    assert miss(bird, 1).remedy == "rejoin"
    bird.stops(0.0)
    bird.flies()
    assert miss(bird, 3).remedy == "reconnect"
    bird.connected(1.0)
    bird.flies()
    assert miss(bird, 5).remedy == "reconnect"


def test_a_miss_goes_back_to_the_last_beat_that_came() -> None:
    bird = canary()
    send(bird, 1, now=30.0)
    bird.came(1, 30.5)
    send(bird, 2, now=60.0)
    assert bird.look(80.0) is None
    send(bird, 3, now=80.0)

    assert bird.look(90.0) == Missed(since=30.0, remedy="rejoin")
    assert bird.silent_since == 30.0


def test_a_miss_before_any_beat_came_goes_back_to_the_connection() -> None:
    bird = canary(connected=7.0)

    assert miss(bird, 1).since == 7.0


def test_a_new_connection_is_no_proof_while_beats_are_missed() -> None:
    bird = canary(connected=7.0)
    miss(bird, 1)
    bird.connected(100.0)

    assert bird.silent_since == 7.0


def test_a_server_that_is_behind_is_given_time_but_not_for_ever() -> None:
    bird = canary()
    send(bird, 1, now=0.0)
    assert bird.look(20.0, is_behind=True) is None
    assert bird.wanted
    send(bird, 2, now=20.0)
    for number in range(MOST_DELAYS):
        now = bird.deadline
        assert bird.look(now, is_behind=True) is None
        assert bird.deadline == now + PATIENCE, number

    assert bird.look(bird.deadline, is_behind=True) == Missed(since=0.0, remedy="rejoin")


def test_a_beat_that_came_late_gives_a_server_that_is_behind_all_its_time_again() -> None:
    bird = canary()
    for number in range(0, 20, 2):
        send(bird, number, now=0.0)
        assert bird.look(bird.deadline, is_behind=True) is None
        send(bird, number + 1, now=0.0)
        assert bird.look(bird.deadline, is_behind=True) is None
        assert bird.came(number, 100.0) is not None
        assert bird.came(number + 1, 100.0) is not None


def test_after_two_misses_it_acts_less_and_less_often() -> None:
    bird = canary()
    waits = []
    for number in range(1, 12, 2):
        send(bird, number, now=0.0)
        waits.append(bird.deadline)
        bird.look(bird.deadline)
        send(bird, number + 1, now=0.0)
        bird.look(bird.deadline)

    assert waits == [20.0, 20.0, 120.0, 220.0, 320.0, 420.0]


def test_a_beat_that_comes_ends_the_silence_and_starts_the_remedies_over() -> None:
    bird = canary(connected=10.0)
    for number in (1, 3, 5):
        miss(bird, number)
    send(bird, 7, now=400.0)

    assert bird.came(7, 401.0) == Came(seconds=1.0, silent=391.0)
    assert bird.silent_since is None
    send(bird, 8, now=500.0)
    assert bird.deadline == 520.0
    assert miss(bird, 9).remedy == "rejoin"


def test_a_beat_overtaken_by_a_later_one_is_lost_but_the_way_is_open() -> None:
    bird = canary()
    send(bird, 1, now=30.0)
    bird.came(1, 30.5)
    send(bird, 2, now=60.0)
    send(bird, 3, now=90.0)

    assert bird.came(3, 90.5) == Came(seconds=0.5, lost_since=30.0)
    assert bird.came(2, 91.0) is None
    assert bird.silent_since is None
    assert bird.deadline == NEVER


def test_a_beat_that_was_never_known_to_be_sent_is_not_lost() -> None:
    bird = canary()
    bird.begun(1, 0.0)
    bird.failed(1)
    send(bird, 2, now=30.0)

    assert bird.came(2, 30.5) == Came(seconds=0.5)


def test_an_earlier_beat_that_comes_leaves_the_later_one_due() -> None:
    bird = canary()
    send(bird, 1, now=0.0)
    send(bird, 2, now=5.0)
    bird.came(1, 6.0)

    assert bird.deadline == 25.0
    assert bird.came(2, 6.5) == Came(seconds=1.5)


def test_a_database_that_takes_no_beat_excuses_those_that_are_out() -> None:
    bird = canary()
    send(bird, 1, now=0.0)
    bird.begun(2, 10.0)
    bird.failed(2)
    assert bird.deadline == NEVER

    send(bird, 3, now=300.0)
    assert bird.deadline == 320.0


def test_what_was_sent_before_an_outage_and_never_came_is_told_when_a_later_one_comes() -> None:
    bird = canary(connected=1.0)
    send(bird, 1, now=5.0)
    bird.begun(2, 10.0)
    bird.failed(2)
    send(bird, 3, now=300.0)

    assert bird.came(3, 300.5) == Came(seconds=0.5, lost_since=1.0)


def test_a_second_beat_that_the_database_does_not_take_is_no_miss() -> None:
    bird = canary()
    send(bird, 1, now=0.0)
    bird.look(20.0)
    bird.begun(2, 20.0)
    bird.failed(2)

    assert bird.look(1000.0) is None
    send(bird, 3, now=1000.0)
    assert bird.deadline == 1020.0


def test_a_beat_sent_before_a_rejoin_proves_nothing_after_it() -> None:
    bird = canary()
    miss(bird, 1)
    assert bird.came(1, 31.0) is None
    send(bird, 3, now=31.0)
    bird.stops(0.0)
    bird.flies()

    assert bird.came(3, 32.0) is None
    assert bird.silent_since == 0.0


def test_time_in_which_nothing_was_read_does_not_count() -> None:
    bird = canary()
    send(bird, 1, now=0.0)
    send(bird, 2, now=5.0)
    bird.excuse(50.0)

    assert bird.deadline == 70.0
    bird.came(1, 60.0)
    assert bird.deadline == 75.0


def test_a_channel_that_is_lost_is_not_waited_for() -> None:
    bird = canary()
    send(bird, 1, now=0.0)
    bird.stops(0.0)

    assert bird.deadline == NEVER
    assert bird.look(1000.0) is None
    bird.begun(2, 1000.0)
    bird.sent(2, 1000.0)
    assert bird.deadline == NEVER


def test_a_canary_whose_beats_cannot_come_has_missed_none() -> None:
    bird = canary()
    miss(bird, 1)
    send(bird, 3, now=40.0)
    bird.excused()

    assert bird.silent_since is None
    assert bird.deadline == NEVER
    send(bird, 4, now=50.0)
    assert bird.deadline == 70.0


def test_beats_that_do_not_come_are_not_remembered_for_ever() -> None:
    bird = canary()
    for number in range(MOST_BEATS + 1):
        send(bird, number, now=0.0)

    assert bird.came(0, 1.0) is None
    assert bird.came(1, 1.0) is not None
