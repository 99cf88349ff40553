"""Is a join read as leniently as the real server reads it?"""

from __future__ import annotations

from uuid import UUID

import pytest

from local.realtime.join import binding_id, is_true, read_join


@pytest.mark.parametrize("payload", [{}, None, [], "text", {"config": None}, {"config": []}])
def test_what_says_nothing_asks_for_nothing(payload: object) -> None:
    join = read_join(payload)

    asked = (join.private, join.broadcast_self, join.broadcast_ack, join.presence_enabled)
    assert asked == (False, False, False, False)
    assert (join.wants_replay, join.token) == (False, None)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("public", {"schema": "public"}),
        ("public:leads", {"schema": "public", "table": "leads"}),
        ("public:t:a=eq.b:c", {"schema": "public", "table": "t", "filter": "a=eq.b:c"}),
    ],
)
def test_without_a_config_the_topic_says_which_changes(name: str, wanted: dict[str, str]) -> None:
    assert read_join({}, name).postgres_changes == [wanted]
    assert read_join({"config": {}}, name).postgres_changes == ()


@pytest.mark.parametrize(
    ("value", "true"),
    [
        (True, True),
        ("true", True),
        ("TrUe", True),
        (False, False),
        ("false", False),
        ("yes", False),
        (1, False),
        (None, False),
        ({}, False),
    ],
)
def test_booleans_are_lenient(value: object, true: bool) -> None:
    assert is_true(value) is true


def test_everything_that_is_asked_for_is_read() -> None:
    join = read_join(
        {
            "config": {
                "broadcast": {"ack": "true", "self": True, "replay": {"since": 1}},
                "presence": {"key": "me", "enabled": True},
                "postgres_changes": [{"event": "*"}, None, {"event": "INSERT"}],
                "private": "TRUE",
            },
            "access_token": "a.b.c",
        }
    )

    assert (join.broadcast_ack, join.broadcast_self, join.private) == (True, True, True)
    assert (join.presence_key, join.presence_enabled) == ("me", True)
    assert (join.wants_replay, join.replay) == (True, {"since": 1})
    assert join.postgres_changes == [{"event": "*"}, {"event": "INSERT"}]
    assert join.token == "a.b.c"


@pytest.mark.parametrize("key", [None, "", [], {}])
def test_a_presence_key_that_is_none_is_made_up(key: object) -> None:
    join = read_join({"config": {"presence": {"key": key}}})

    assert UUID(join.presence_key)


@pytest.mark.parametrize(("key", "read"), [(7, "7"), (True, "true"), (1.5, "1.5")])
def test_a_presence_key_may_be_any_scalar(key: object, read: str) -> None:
    assert read_join({"config": {"presence": {"key": key}}}).presence_key == read


@pytest.mark.parametrize(
    ("payload", "token"),
    [
        ({"user_token": "a.b.c"}, "a.b.c"),
        ({"user_token": "u.s.r", "access_token": "a.b.c"}, "u.s.r"),
        ({"access_token": "sb_secret_x"}, None),
        ({"access_token": 7}, None),
    ],
)
def test_the_token_has_an_older_name_and_a_key_is_none(
    payload: dict[str, object], token: str | None
) -> None:
    assert read_join(payload).token == token


def test_a_binding_has_27_bits_that_depend_on_its_content_alone() -> None:
    one = binding_id({"event": "*", "schema": "public"})

    assert one == binding_id({"schema": "public", "event": "*"})
    assert one != binding_id({"event": "INSERT", "schema": "public"})
    assert 0 <= one < 2**27
