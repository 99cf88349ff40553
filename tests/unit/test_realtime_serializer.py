"""Does a message look on the wire as the protocol says, byte for byte?"""

from __future__ import annotations

import pytest

from local.realtime.serializer import (
    SERIALIZER_1,
    SERIALIZER_2,
    Frame,
    Inbound,
    Unreadable,
    UserBroadcast,
    for_version,
    from_json,
    to_json,
)


def test_version_1_says_four_things_and_never_join_ref() -> None:
    frame = SERIALIZER_1.text("realtime:a", "phx_reply", b"{}", join_ref="1", ref="2")

    assert frame == Frame(b'{"event":"phx_reply","payload":{},"ref":"2","topic":"realtime:a"}')


def test_version_2_is_an_array_of_five_with_nulls() -> None:
    frame = SERIALIZER_2.text("realtime:a", "broadcast", b'{"x":1}')

    assert frame == Frame(b'[null,null,"realtime:a","broadcast",{"x":1}]')


def test_version_1_reads_what_has_every_key_and_join_ref_may_be_missing() -> None:
    text = '{"topic":"t","event":"e","payload":{"a":1},"ref":null}'

    assert SERIALIZER_1.read(text) == Inbound(None, None, "t", "e", {"a": 1})


def test_version_2_reads_five_elements_and_ignores_more() -> None:
    assert SERIALIZER_2.read('["1","2","t","e",[],"more"]') == Inbound("1", "2", "t", "e", [])


def test_references_may_be_numbers() -> None:
    in_1 = SERIALIZER_1.read('{"topic":"t","event":"e","payload":{},"ref":2,"join_ref":1}')
    in_2 = SERIALIZER_2.read('[1,2,"t","e",{}]')

    assert in_1 == in_2 == Inbound(1, 2, "t", "e", {})
    assert SERIALIZER_2.text("t", "e", b"{}", join_ref=1, ref=2) == Frame(b'[1,2,"t","e",{}]')


@pytest.mark.parametrize(
    "data",
    [
        "no json",
        "[]",
        '"text"',
        '{"topic":"t","event":"e","payload":{}}',
        '{"topic":"t","event":"e","ref":"1"}',
        '{"topic":1,"event":"e","payload":{},"ref":"1"}',
        '{"topic":"t","event":"e","payload":{},"ref":[1]}',
        '{"topic":"t","event":"e","payload":"\\ud800","ref":"1"}',
        b"\x03",
    ],
)
def test_version_1_drops_what_it_cannot_read(data: str | bytes) -> None:
    with pytest.raises(Unreadable):
        SERIALIZER_1.read(data)


@pytest.mark.parametrize(
    "data",
    [
        "no json",
        "{}",
        '["1","2","t","e"]',
        '["1","2",3,"e",{}]',
        '["1","2","t","e",NaN]',
        "[" * 100_000,
        b"",
        b"\x00",
        b"\x00\x01\x01\x01",
        b"\x00\x01\x01\x05\x01" + b"12ab",
        b"\x02\x01\x01" + b"te",
        b"\x03\x00\x00\x01\x01\x00",
        b"\x03\x00\x00\x01\x01\x00\x01" + b"\xffe",
        b"\x09",
    ],
)
def test_version_2_drops_what_it_cannot_read(data: str | bytes) -> None:
    with pytest.raises(Unreadable):
        SERIALIZER_2.read(data)


def test_kind_0_from_a_client_has_both_references() -> None:
    data = b"\x00\x02\x01\x03\x04" + b"10" + b"7" + b"abc" + b"ping" + b"\x01\xff"

    assert SERIALIZER_2.read(data) == Inbound("10", "7", "abc", "ping", b"\x01\xff")


def test_kind_0_to_a_client_has_no_ref() -> None:
    frame = SERIALIZER_2.binary_push("10", "abc", "ping", b"\x01\xff")

    assert frame == Frame(b"\x00\x02\x03\x04" + b"10" + b"abc" + b"ping" + b"\x01\xff", True)


def test_kind_1_answers_with_a_status() -> None:
    frame = SERIALIZER_2.binary_reply("10", "7", "abc", "ok", b"\x01")

    assert frame == Frame(b"\x01\x02\x01\x03\x02" + b"10" + b"7" + b"abc" + b"ok" + b"\x01", True)


def test_kind_2_has_a_topic_and_an_event() -> None:
    frame = SERIALIZER_2.binary_broadcast("abc", "ping", b"\x01")

    assert frame == Frame(b"\x02\x03\x04" + b"abc" + b"ping" + b"\x01", True)


@pytest.mark.parametrize(("encoding", "is_json"), [(0, False), (1, True), (7, True)])
def test_kind_3_is_a_broadcast_in_its_own_bytes(encoding: int, is_json: bool) -> None:
    head = bytes([3, 2, 1, 3, 4, 2, encoding])
    data = head + b"10" + b"7" + b"abc" + b"move" + b"{}" + b'{"x": 1}'

    message = SERIALIZER_2.read(data)

    assert message == Inbound(
        "10", "7", "abc", "broadcast", UserBroadcast("move", b'{"x": 1}', is_json)
    )


def test_kind_3_with_no_references_has_none() -> None:
    data = b"\x03\x00\x00\x01\x01\x00\x00" + b"te"

    assert SERIALIZER_2.read(data) == Inbound(
        None, None, "t", "broadcast", UserBroadcast("e", b"", False)
    )


def test_kind_4_carries_the_payload_as_it_came() -> None:
    message = UserBroadcast("move", b'{"x": 1}', is_json=True)

    frame = SERIALIZER_2.user_broadcast("abc", message)

    assert frame == Frame(b"\x04\x03\x04\x00\x01" + b"abc" + b"move" + b'{"x": 1}', True)


def test_kind_4_has_the_id_in_its_metadata() -> None:
    message = UserBroadcast("e", b"\xff", is_json=False, meta={"id": "1"})

    frame = SERIALIZER_2.user_broadcast("t", message)

    assert frame == Frame(b"\x04\x01\x01\x0a\x00" + b"te" + b'{"id":"1"}' + b"\xff", True)


@pytest.mark.parametrize(
    ("topic", "event", "meta"),
    [("t" * 256, "e", None), ("t", "é" * 128, None), ("t", "e", {"id": "x" * 250})],
)
def test_a_header_field_over_255_bytes_cannot_be_carried_in_version_2(
    topic: str, event: str, meta: dict[str, str] | None
) -> None:
    message = UserBroadcast(event, b"{}", is_json=True, meta=meta)

    assert SERIALIZER_2.user_broadcast(topic, message) is None
    assert SERIALIZER_1.user_broadcast(topic, message) is not None


def test_version_1_gets_a_user_broadcast_as_text_unless_it_is_bytes_or_no_json() -> None:
    told = UserBroadcast("move", b'{"x":1}', is_json=True, meta={"id": "1"})

    assert SERIALIZER_1.user_broadcast("t", told) == Frame(
        b'{"event":"broadcast","payload":{"event":"move","meta":{"id":"1"},"payload":{"x":1},'
        b'"type":"broadcast"},"ref":null,"topic":"t"}'
    )
    assert SERIALIZER_1.user_broadcast("t", UserBroadcast("move", b"{}", False)) is None
    assert SERIALIZER_1.user_broadcast("t", UserBroadcast("move", b"{", True)) is None
    assert SERIALIZER_1.binary_broadcast("t", "broadcast", b"") is None


def test_whole_numbers_of_any_size_go_through_exactly() -> None:
    text = b'{"a":9007199254740993,"b":123456789012345678901234567890}'

    assert to_json(from_json(text)) == text


@pytest.mark.parametrize(
    ("vsn", "speaks"),
    [
        ("1.0.0", SERIALIZER_1),
        ("1.0.7", SERIALIZER_1),
        ("2.0.0", SERIALIZER_2),
        ("1.1.0", None),
        ("3.0.0", None),
        ("2", None),
        ("", None),
    ],
)
def test_a_version_is_spoken_or_not(vsn: str, speaks: object) -> None:
    assert for_version(vsn) is speaks
