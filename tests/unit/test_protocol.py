"""What do bytes on the socket mean?"""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import FrameError
from worker.realtime.protocol import DEEPEST, decode, encode, encode_user_broadcast

KINDS = {
    "empty",
    "not utf-8",
    "not json",
    "too deep",
    "not a list",
    "too short",
    "wrong types",
    "truncated",
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def kind_of(raw: bytes) -> str:
    with pytest.raises(FrameError) as caught:
        decode(raw)
    return caught.value.kind


def test_a_push_is_written_as_the_five_elements_of_v2() -> None:
    frame = encode(None, "7", "phoenix", "heartbeat", {})

    assert frame == '[null,"7","phoenix","heartbeat",{}]'


def test_elements_after_the_fifth_are_ignored() -> None:
    frame = decode(b'["1","2","realtime:a","phx_reply",{"status":"ok"},"more"]')

    assert (frame.join_ref, frame.ref, frame.topic) == ("1", "2", "realtime:a")
    assert (frame.event, frame.payload) == ("phx_reply", {"status": "ok"})


def test_integers_of_64_bits_stay_exact() -> None:
    assert decode(b'[null,null,"t","e",{"v":9007199254740993}]').payload["v"] == 9007199254740993


@pytest.mark.parametrize("number", ["1e400", "-1e400", "7" * 400, "1" * 5000 + ".5"])
def test_a_number_that_no_double_holds_is_its_text(number: str) -> None:
    raw = f'[null,null,"t","e",{{"v":{number},"w":[12.5,{2**53 + 1},{-(2**63)}]}}]'

    assert decode(raw.encode()).payload == {"v": number, "w": [12.5, 2**53 + 1, -(2**63)]}


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", "empty"),
        (b"\xff\xfe", "not utf-8"),
        (b'[null,null,"t","e",{"v":"\xc3\x28"}]', "not utf-8"),
        (b"hello", "not json"),
        (b'[null,null,"t","e",{"v":NaN}]', "not json"),
        (b'[null,null,"t","e",{"v":1e400,"w":Infinity}]', "not json"),
        (b'[null,null,"t","e",{"v":"\\ud800"}]', "not json"),
        (b"[" * 100_000, "too deep"),
        ('[null,null,"t","e",{}]'.encode("utf-16"), "not utf-8"),
        (b'{"topic":"t","event":"e","payload":{},"ref":null}', "not a list"),
        (b"null", "not a list"),
        (b'[null,null,"t","e"]', "too short"),
        (b'[null,null,"t","e",[]]', "wrong types"),
        (b'[null,null,"t",null,{}]', "wrong types"),
        (b'[null,null,5,"e",{}]', "wrong types"),
        (b'[1,null,"t","e",{}]', "wrong types"),
        (b'[null,{},"t","e",{}]', "wrong types"),
        (b"\x04", "truncated"),
        (b"\x04\x05\x05\x00\x01abc", "truncated"),
        (b"\x00\x01\x01\x09abc", "truncated"),
        (b"\x04\x01\x01\x00\x01te{", "not json"),
        (b"\x04\x01\x01\x01\x00te{", "not json"),
        (b"\x04\x01\x01\x00\x00\xff\xff", "not utf-8"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_kind(raw: bytes, kind: str) -> None:
    assert kind_of(raw) == kind


def nested(levels: int, inside: str = "") -> bytes:
    return f"{'[' * levels}{inside}{']' * levels}".encode()


@pytest.mark.parametrize("levels", [DEEPEST + 1, 300, 1000, 100_000])
@pytest.mark.parametrize("inside", ["", "1e400"])
def test_what_is_nested_too_deep_to_be_written_again_is_not_read(levels: int, inside: str) -> None:
    text = b'[null,null,"t","e",{"v":%s}]' % nested(levels - 2, inside)

    assert (
        kind_of(text) == kind_of(b"\x04\x01\x01\x00\x01te" + nested(levels, inside)) == "too deep"
    )


def test_as_deep_as_that_is_read() -> None:
    text = decode(
        b'[null,null,"t","e",{"v":%s,"w":[%s]}]' % (nested(DEEPEST - 2), b"[],{}," * 99 + b"1")
    )
    binary = decode(b"\x04\x01\x01\x00\x01te" + nested(DEEPEST))

    assert text.payload["v"] == orjson.loads(nested(DEEPEST - 2))
    assert binary.payload["payload"] == orjson.loads(nested(DEEPEST))


def test_a_json_broadcast_in_binary_form_reads_like_its_text_form() -> None:
    text = decode(
        b'[null,null,"realtime:room","broadcast",'
        b'{"type":"broadcast","event":"cursor","payload":{"x":1},"meta":{"id":"m"}}]'
    )
    binary = decode(b'\x04\x0d\x06\x0a\x01realtime:roomcursor{"id":"m"}{"x":1}')

    assert (binary.topic, binary.event) == (text.topic, text.event)
    assert binary.payload == text.payload


def test_a_binary_broadcast_keeps_its_bytes() -> None:
    frame = decode(b"\x04\x01\x01\x00\x00te\x00\xff\x04")

    assert frame.payload == {"type": "broadcast", "event": "e", "payload": b"\x00\xff\x04"}


def test_each_binary_kind_has_its_own_layout() -> None:
    push = decode(b"\x00\x01\x01\x011te\x09data")
    reply = decode(b"\x01\x01\x01\x01\x0212toknothing")
    plain = decode(b"\x02\x01\x01te\x01\x02")
    sent = decode(b"\x03\x01\x01\x01\x01\x00\x0112te5")

    assert (push.join_ref, push.ref, push.topic, push.event) == ("1", None, "t", "e")
    assert push.payload == b"\tdata"
    assert (reply.join_ref, reply.ref, reply.event) == ("1", "2", "phx_reply")
    assert reply.payload == {"status": "ok", "response": b"nothing"}
    assert (plain.topic, plain.event, plain.payload) == ("t", "e", b"\x01\x02")
    assert (sent.join_ref, sent.ref, sent.payload["payload"]) == ("1", "2", 5)


@given(
    topic=st.text(max_size=60),
    event=st.text(max_size=60),
    meta=st.none() | st.dictionaries(st.text(max_size=9), st.text(max_size=9), min_size=1).filter(
        lambda meta: len(orjson.dumps(meta)) < 256
    ),
    payload=st.binary() | JSON.map(lambda value: orjson.loads(orjson.dumps(value))),
)  # fmt: skip
def test_a_user_broadcast_is_read_as_it_was_written(
    topic: str, event: str, meta: dict[str, str] | None, payload: object
) -> None:
    frame = decode(encode_user_broadcast(topic, event, meta, payload))

    assert frame.topic == topic
    assert frame.payload["event"] == event
    assert frame.payload["payload"] == payload
    assert frame.payload.get("meta") == meta


@given(
    st.binary(max_size=80) | st.builds(lambda k, d: bytes([k]) + d, st.integers(0, 5), st.binary())
)
def test_no_bytes_raise_anything_but_a_frame_error(raw: bytes) -> None:
    try:
        decode(raw)
    except FrameError as error:
        assert error.kind in KINDS


@given(JSON | st.lists(JSON, min_size=5, max_size=6))
def test_no_json_raises_anything_but_a_frame_error(value: object) -> None:
    try:
        decode(orjson.dumps(value))
    except FrameError as error:
        assert error.kind in KINDS
