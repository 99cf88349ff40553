"""Which event does a frame carry?"""

import pickle
import tracemalloc
from dataclasses import FrozenInstanceError
from typing import Any
from uuid import UUID, SafeUUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import FrameError
from worker.event import Broadcast, Change, Presence, plain
from worker.realtime.events import CARRIERS, Decoder, Withheld
from worker.realtime.protocol import Frame, decode, encode, encode_user_broadcast

from .test_protocol import JSON

Read = Change | Broadcast | Presence | Withheld | None

LEAD: dict[str, Any] = {
    "schema": "public",
    "table": "leads",
    "type": "UPDATE",
    "commit_timestamp": "2026-11-22T14:03:11.482Z",
    "columns": [{"name": "id", "type": "int8"}, {"name": "status", "type": "varchar"}],
    "record": {"id": 1, "status": "won"},
    "old_record": {"id": 1, "status": "new"},
    "errors": None,
}


def read(decoder: Decoder, event: str, payload: Any) -> Read:
    raw = encode(None, None, "realtime:room", event, payload).encode()
    return decoder.read(decode(raw), raw)


def change(decoder: Decoder, **differences: Any) -> Change:
    event = read(decoder, "postgres_changes", {"ids": [1], "data": {**LEAD, **differences}})
    assert isinstance(event, Change)
    return event


def broadcast(decoder: Decoder, **payload: Any) -> Broadcast | None:
    event = read(decoder, "broadcast", {"type": "broadcast", "event": "moved", **payload})
    assert event is None or isinstance(event, Broadcast)
    return event


def kind_of(event: str, payload: Any) -> str:
    with pytest.raises(FrameError) as caught:
        read(Decoder(()), event, payload)
    return caught.value.kind


def test_a_change_has_the_row_before_and_after() -> None:
    event = change(Decoder(()))

    assert (event.table, event.kind) == ("public.leads", "UPDATE")
    assert (event.record, event.old) == (LEAD["record"], LEAD["old_record"])
    assert event.columns == {"id": "int8", "status": "varchar"}
    assert event.committed_at == LEAD["commit_timestamp"]
    assert event.errors == ()


def test_the_id_of_a_change_is_a_uuid_like_any_other() -> None:
    made = change(Decoder(())).id

    for same in (UUID(str(made)), UUID(bytes=made.bytes), pickle.loads(pickle.dumps(made))):
        assert made == same and hash(made) == hash(same) and repr(made) == repr(same)
    assert type(made) is UUID and made.is_safe is SafeUUID.unknown
    with pytest.raises(TypeError, match="immutable"):
        made.int = 5  # type: ignore[misc]  # which is what is tried here


def test_two_identical_frames_are_two_changes() -> None:
    decoder = Decoder(())

    ids = {change(decoder).id for _ in range(5)}

    assert len(ids) == 5


def test_a_change_that_was_read_is_as_one_that_was_made_and_cannot_be_altered() -> None:
    event = change(Decoder(()))
    made = Change(
        id=event.id,
        schema="public",
        name="leads",
        kind="UPDATE",
        record=LEAD["record"],
        old=LEAD["old_record"],
        committed_at=LEAD["commit_timestamp"],
        columns={"id": "int8", "status": "varchar"},
    )

    assert event == made and repr(event) == repr(made) and plain(event) == plain(made)
    with pytest.raises(FrozenInstanceError):
        event.kind = "INSERT"  # type: ignore[misc]  # which is what is tried here
    with pytest.raises(AttributeError, match="nonsense"):
        _ = event.nonsense  # type: ignore[attr-defined]  # the same


@pytest.mark.parametrize("columns", [None, 5, "x", ["id"], [{"name": "id"}], {"id": "int8"}])
def test_a_change_is_not_given_up_for_types_that_cannot_be_read(columns: Any) -> None:
    event = change(Decoder(()), columns=columns)

    assert event.columns == {} and event.record == LEAD["record"]


def test_the_same_frames_from_the_beginning_have_the_same_ids() -> None:
    first, second = Decoder(()), Decoder(())

    before = [change(first).id, change(first).id, change(first, type="INSERT").id]
    after = [change(second).id, change(second).id, change(second, type="INSERT").id]

    assert before == after


def test_a_broadcast_of_tomorrow_is_another_event_than_that_of_today() -> None:
    today, tomorrow = Decoder((), seed=b"today"), Decoder((), seed=b"tomorrow")

    ids = set()
    for decoder in (today, tomorrow, today):
        message = broadcast(decoder, payload="good morning")
        state = read(decoder, "presence_state", {})
        assert isinstance(message, Broadcast) and isinstance(state, Presence)
        ids |= {message.id, state.id}

    assert len(ids) == 6


def test_with_the_same_seed_broadcasts_and_presence_have_the_same_ids_again() -> None:
    first, again = [
        [
            broadcast(decoder, payload=1),
            broadcast(decoder, payload=1),
            read(decoder, "presence_state", {}),
        ]
        for decoder in (Decoder((), seed=b"s"), Decoder((), seed=b"s"))
    ]

    assert first == again


def test_an_identical_frame_is_known_again_behind_thousands_of_others() -> None:
    decoder = Decoder(())
    first = change(decoder).id

    for number in range(10_000):
        change(decoder, record={"id": number, "status": "new"})

    assert change(decoder).id != first


def test_what_is_remembered_of_frames_and_names_is_bounded() -> None:
    decoder = Decoder(("password_hash",))

    for number in range(40_000):
        change(decoder, record={"id": number, f"column_{number}": 1})
        broadcast(decoder, meta={"id": str(number)}, payload=1)

    assert len(decoder._seen) <= 20_000
    assert len(decoder._broadcasts) <= 20_000
    assert len(decoder._hide._shown) <= 20_000


def test_hidden_columns_are_gone_from_rows_and_columns_in_any_spelling() -> None:
    decoder = Decoder(("Password_Hash",))
    row = {"id": 1, "password_hash": "x", "PASSWORD_HASH": "y"}
    columns = [{"name": "id", "type": "int8"}, {"name": "password_hash", "type": "text"}]

    for _ in range(2):  # the second time the names are known
        event = change(decoder, record=row, old_record=row, columns=columns)

        assert event.record == event.old == {"id": 1}
        assert event.columns == {"id": "int8"}


def test_hidden_columns_are_gone_from_broadcasts_and_presence_at_any_depth() -> None:
    decoder = Decoder(("password_hash",))
    secret = {"record": {"id": 1, "password_hash": "x"}, "list": [{"Password_Hash": "y", "a": 1}]}
    shown = {"record": {"id": 1}, "list": [{"a": 1}]}

    message = broadcast(decoder, payload=secret)
    presence = read(decoder, "presence_state", {"ann": {"metas": [secret]}})

    assert message is not None and message.payload == shown
    assert isinstance(presence, Presence) and presence.joins == {"ann": (shown,)}


def test_a_truncated_change_is_delivered_with_what_is_wrong_with_it() -> None:
    event = change(Decoder(()), record={"id": 1}, errors=["Error 413: Payload Too Large"])

    assert event.errors == ("Error 413: Payload Too Large",)
    assert event.record == {"id": 1}


@pytest.mark.parametrize(
    ("differences", "error"),
    [
        ({"record": {}, "errors": ["Error 401: Unauthorized"]}, "Error 401: Unauthorized"),
        (
            {"record": {}, "old_record": {}, "errors": ["Error 400: Bad Request, no primary key"]},
            "Error 400: Bad Request, no primary key",
        ),
        (
            {"record": {}, "errors": ["Error 413: Payload Too Large"]},
            "Error 413: Payload Too Large",
        ),
        ({"type": "DELETE", "old_record": {}}, "empty row"),
    ],
)
def test_a_change_that_does_not_say_which_row_is_withheld(
    differences: dict[str, Any], error: str
) -> None:
    data = {**LEAD, "columns": [], "commit_timestamp": None, **differences}

    event = read(Decoder(()), "postgres_changes", {"data": data})

    assert event == Withheld("public.leads", error)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({}, "no data"),
        ({"data": []}, "no data"),
        ({"data": {}}, "no data"),
        ({"data": {**LEAD, "type": "VACUUM"}}, "unknown change"),
        ({"data": {**LEAD, "type": ["UPDATE"]}}, "wrong types"),
        ({"data": {**LEAD, "record": [1]}}, "wrong types"),
        ({"data": {**LEAD, "schema": None}}, "wrong types"),
        ({"data": {**LEAD, "errors": "Error 413"}}, "wrong types"),
        ({"data": {**LEAD, "commit_timestamp": 5}}, "wrong types"),
    ],
)
def test_a_change_of_another_shape_is_refused(payload: Any, kind: str) -> None:
    assert kind_of("postgres_changes", payload) == kind


def test_a_broadcast_carries_any_payload() -> None:
    for payload in ({"x": 1}, [1, 2], "text", None, 7):
        event = broadcast(Decoder(()), payload=payload)

        assert event is not None
        assert (event.topic, event.event, event.payload) == ("room", "moved", payload)


def test_a_broadcast_without_an_event_name_is_refused() -> None:
    assert kind_of("broadcast", {"payload": {}}) == "no event name"


def test_a_broadcast_that_comes_again_under_its_id_is_dropped() -> None:
    decoder = Decoder(())
    meta = {"id": "5f0c4a9e-9f43-4a9b-8a7a-3d3b0a1f2c11"}

    first = broadcast(decoder, payload=1, meta=meta)
    again = broadcast(decoder, payload=1, meta={**meta, "replayed": True})

    assert first is not None and str(first.id) == meta["id"]
    assert again is None


def test_a_broadcast_is_the_same_event_in_either_form() -> None:
    meta = {"id": "5f0c4a9e-9f43-4a9b-8a7a-3d3b0a1f2c11", "replayed": True}
    binary = encode_user_broadcast("realtime:room", "moved", meta, {"x": 1})

    text_event = broadcast(Decoder(()), payload={"x": 1}, meta=meta)
    binary_event = Decoder(()).read(decode(binary), binary)

    assert text_event == binary_event
    assert text_event is not None and text_event.replayed


def test_a_broadcast_id_that_is_no_uuid_still_dedupes() -> None:
    decoder = Decoder(())

    assert broadcast(decoder, payload=1, meta={"id": "seven"}) is not None
    assert broadcast(decoder, payload=1, meta={"id": "seven"}) is None


def test_ids_of_any_length_are_known_again_without_being_kept() -> None:
    decoder = Decoder(())
    broadcast(decoder, meta={"id": "x" * 1000})

    tracemalloc.start()
    for number in range(200):
        assert broadcast(decoder, meta={"id": "x" * 100_000 + str(number)}) is not None
        assert broadcast(decoder, meta={"id": "x" * 100_000 + str(number)}) is None
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept < 1_000_000, "twenty megabytes of them came"


def test_names_are_not_remembered_however_long_they_are() -> None:
    decoder = Decoder(("password_hash",))
    tracemalloc.start()
    for number in range(200):
        name = "x" * 100_000 + str(number)
        assert change(decoder, record={name: 1}).record == {name: 1}
        withheld = read(
            decoder, "postgres_changes", {"data": {**LEAD, "table": name, "record": {}}}
        )
        assert isinstance(withheld, Withheld) and len(withheld.table) < 200
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept < 1_000_000, "forty megabytes of them came"


def test_presence_says_who_came_and_who_went() -> None:
    meta = {"phx_ref": "a", "name": "Ann"}

    diff = read(Decoder(()), "presence_diff", {"joins": {"ann": {"metas": [meta]}}, "leaves": {}})
    state = read(Decoder(()), "presence_state", {"ann": {"metas": [meta]}})

    assert isinstance(diff, Presence) and isinstance(state, Presence)
    assert (diff.joins, diff.leaves, diff.full) == ({"ann": (meta,)}, {}, False)
    assert (state.joins, state.leaves, state.full) == ({"ann": (meta,)}, {}, True)


@pytest.mark.parametrize("payload", [{"joins": []}, {"joins": {"ann": {}}}, {"leaves": {"a": 1}}])
def test_presence_of_another_shape_is_refused(payload: Any) -> None:
    assert kind_of("presence_diff", payload) == "wrong types"


@given(st.sampled_from(sorted(CARRIERS)), JSON, st.binary(max_size=9))
def test_no_payload_raises_anything_but_a_frame_error(event: str, inner: Any, raw: bytes) -> None:
    decoder = Decoder(("password_hash",))
    shapes = [inner, raw, {"data": inner}, {"data": {**LEAD, "record": inner}}]
    shapes += [{"data": {**LEAD, "columns": inner}}, {"data": {**LEAD, "type": inner}}]
    shapes += [{"event": "e", "meta": inner}, {"event": inner}, {"joins": inner}, {"a": inner}]
    shapes += [{"joins": {"a": {"metas": inner}}}, {"data": {**LEAD, "errors": inner}}]
    for payload in shapes:
        try:
            decoder.read(Frame(None, None, "realtime:room", event, payload), raw)
        except FrameError as error:
            assert error.kind in {"no data", "unknown change", "wrong types", "no event name"}


def test_numbers_are_read_as_json_carries_them() -> None:
    raw = (
        b'[null,null,"realtime:room","postgres_changes",{"data":'
        + orjson.dumps({**LEAD, "record": {"big": 9007199254740993, "price": 12.5}})
        + b"}]"
    )

    event = Decoder(()).read(decode(raw), raw)

    assert isinstance(event, Change)
    assert event.record == {"big": 9007199254740993, "price": 12.5}
