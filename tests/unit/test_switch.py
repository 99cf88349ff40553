"""How are switches named, set, shown and taken back?"""

from __future__ import annotations

import pytest

from local.realtime import acts
from local.realtime.faults import Faults
from local.realtime.switch import BadValue, Chance, UnknownSwitch

SWITCHES = Faults.switches()
VALUES = {
    "on": ["on"],
    "seconds": ["0", "0.5", "3600"],
    "bytes": ["1", "9000000"],
    "probability[@seed]": ["0.25@7", "1@1"],
}


class Connection:
    """As much of one as `close` needs; it notes how it was ended."""

    def __init__(self) -> None:
        self.ends: list[int | None] = []

    lost = False

    def hang_up(self, code: int | None) -> None:
        self.ends.append(code)


def faults(*connections: object) -> Faults:
    return Faults(list(connections))  # type: ignore[arg-type] # as much of them as is needed


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_says_in_one_line_what_it_means(name: str) -> None:
    meaning = SWITCHES[name].meaning

    assert 20 < len(meaning) <= 100 and "\n" not in meaning and not meaning.endswith(".")


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_is_thrown_with_its_default_shown_and_taken_back(name: str) -> None:
    server = faults()
    server.throw(name)
    shown = server.shown(name)
    value = getattr(server, name)
    server.take_back(name)

    assert shown is not None and shown.startswith(SWITCHES[name].default)
    assert value is not None
    assert server.shown(name) is None
    assert getattr(server, name) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (name, text)
        for name, switch in SWITCHES.items()
        for text in switch.kind.allowed or VALUES[switch.kind.name]
    ],
)
def test_what_is_shown_can_be_thrown_again(name: str, text: str) -> None:
    server, other = faults(), faults()
    server.throw(name, text)
    shown = server.shown(name)
    other.throw(name, shown)

    assert shown == text
    assert other.shown(name) == shown


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("freeze", "off", "off"),
        ("close", "1015", "1000 | 1001"),
        ("close", "soon", "soon"),
        ("late_joins", "soon", "no number"),
        ("late_joins", "-1", "range"),
        ("late_joins", "nan", "range"),
        ("oversized_frame", "0", "bytes"),
        ("drop_frames", "0", "probability"),
        ("drop_frames", "1.5", "probability"),
        ("drop_frames", "0.5@x", "seed"),
        ("refuse_joins", "Because: I say so", "RealtimeRestarting"),
        ("refuse_handshakes", "teapot", "Tenant not found"),
    ],
)
def test_a_value_it_cannot_have_is_said_with_what_it_can(name: str, text: str, said: str) -> None:
    server = faults()
    with pytest.raises(BadValue, match=said.replace("|", r"\|")):
        server.throw(name, text)

    assert server.values == {}


def test_a_reason_is_named_by_its_code() -> None:
    server = faults()
    server.throw("refuse_joins", "PrivateOnly")

    assert server.refuse_joins == "PrivateOnly: This project only allows private channels"


@pytest.mark.parametrize(
    ("name", "said"), [("freez", "did you mean freeze"), ("xyz", "there are freeze, half_open")]
)
def test_an_unknown_name_is_answered_with_a_known_one(name: str, said: str) -> None:
    with pytest.raises(UnknownSwitch, match=said):
        faults().throw(name)
    with pytest.raises(UnknownSwitch, match=said):
        faults().take_back(name)


def test_what_happens_once_is_over_when_it_has_struck() -> None:
    connection = Connection()
    server = faults(connection)
    server.throw("close", "1006")

    assert connection.ends == [None]
    assert server.shown("close") is None


def test_what_happens_once_and_meets_nobody_waits_for_the_first_channel() -> None:
    server = faults()
    server.throw("close", "1001")
    waiting = server.shown("close")
    first, second = Connection(), Connection()
    for each in (first, second):
        server.joined(each)  # type: ignore[arg-type] # as much of one as is needed

    assert waiting == "1001"
    assert (first.ends, second.ends) == ([1001], [])


def test_what_waits_can_be_taken_back() -> None:
    server = faults()
    server.throw("close")
    server.take_back("close")
    connection = Connection()
    server.joined(connection)  # type: ignore[arg-type] # as much of one as is needed

    assert connection.ends == []


def test_chance_strikes_as_often_as_it_says_and_the_same_seed_in_the_same_places() -> None:
    one, same, other = Chance(0.2, 7), Chance(0.2, 7), Chance(0.2, 8)
    struck = [[chance.strikes() for _ in range(2000)] for chance in (one, same, other)]

    assert struck[0] == struck[1] != struck[2]
    assert 300 < sum(struck[0]) < 500


def test_every_malformed_frame_has_its_name() -> None:
    assert SWITCHES["malformed_frame"].kind.allowed == tuple(acts.MALFORMED)
