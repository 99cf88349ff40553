"""Are the local server's settings read from the command line as they are meant?"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from local.realtime.limits import REAL, Limits
from local.realtime.settings import Settings
from local.realtime.tuned import names, tuned


def test_nothing_said_is_what_the_real_server_does() -> None:
    assert tuned([]) == Settings()


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (["join_error_delay=0.5"], Settings(join_error_delay=0.5)),
        (["subscribed_delay=0.1..0.3"], Settings(subscribed_delay=(0.1, 0.3))),
        (["subscribed_delay=2"], Settings(subscribed_delay=(2.0, 2.0))),
        (["max_connections=none", "max_frame=10"], Settings(max_connections=None, max_frame=10)),
        (["private_only=true"], Settings(private_only=True)),
        (["limits=real"], Settings(limits=REAL)),
        (["limits=real", "limits.events=3"], Settings(limits=replace(REAL, events=3.0))),
        (["limits.presence_calls=5"], Settings(limits=Limits(presence_calls=5))),
        (["limits=real", "limits=none"], Settings()),
        (["api_keys.sb_secret_a=service_role"], Settings(api_keys={"sb_secret_a": "service_role"})),
    ],
)
def test_each_value_is_read_as_its_kind(said: list[str], meant: Settings) -> None:
    assert tuned(said) == meant


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("join_eror_delay=1", "did you mean join_error_delay?"),
        ("qqqq=1", "there are handshake_error_delay, "),
        ("join_error_delay", "has no value"),
        ("join_error_delay=soon", "soon is no number"),
        ("join_error_delay=-1", "-1 is out of range"),
        ("join_error_delay=nan", "nan is out of range"),
        ("max_channels=1.5", "1.5 is no whole number"),
        ("private_only=maybe", "neither true nor false"),
        ("limits=strict", "none of: real | none"),
        ("limits.tick=0", "more than 0"),
        ("limits.pace=1", "did you mean"),
        ("users=root", "no setting is called users"),
    ],
)
def test_what_is_wrong_is_said(said: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        tuned([said])


def test_all_can_be_set_but_who_may_sign_in() -> None:
    known = {name for name in Settings.__dataclass_fields__ if name not in ("users", "api_keys")}

    assert known <= set(names())
    assert {f"limits.{name}" for name in Limits.__dataclass_fields__} <= set(names())
