"""What does a recording look like?"""

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import CommandFailed, FrameError
from worker.event import Gap
from worker.hidden import Hidden
from worker.realtime.gaps import Scope, gap
from worker.realtime.protocol import decode, encode, encode_user_broadcast
from worker.replay.recording import frame_line, gap_line, header, read, read_header
from worker.subscription import Binding, Subscription

from .test_protocol import JSON

LEADS = Subscription("leads", (Binding("public", "leads"),))
HIDDEN = Hidden(("password_hash",))


def written(folder: Path, *lines: bytes) -> Path:
    path = folder / "recording.jsonl"
    path.write_bytes(header([LEADS], "2026-11-22T14:03:11+00:00") + b"".join(lines))
    return path


def frames(path: Path) -> list[bytes]:
    return [it.what for it in read(path) if isinstance(it.what, bytes)]


def change(**row: Any) -> bytes:
    columns = [{"name": name, "type": "text"} for name in row]
    data = {"table": "users", "record": row, "old_record": row, "columns": columns}
    return encode(None, None, "realtime:leads", "postgres_changes", {"data": data}).encode()


def test_a_text_frame_is_read_back_to_the_byte(tmp_path: Path) -> None:
    raw = b'[null, null,"realtime:leads","e",{"price":12.50,"big":1e400,"u":"\\u00e9"} ]'

    assert frames(written(tmp_path, frame_line(0.5, raw, HIDDEN))) == [raw]


def test_a_frame_is_legible_in_the_file(tmp_path: Path) -> None:
    raw = b'[null,null,"realtime:leads","e",{"a":1}]'

    line = orjson.loads(frame_line(0.5, raw, HIDDEN))

    assert line == {"at": 0.5, "frame": [None, None, "realtime:leads", "e", {"a": 1}]}


def test_a_frame_on_several_lines_becomes_one(tmp_path: Path) -> None:
    raw = b'[null,null,\n"realtime:leads","e",\n{"a":"b"}]'

    assert frames(written(tmp_path, frame_line(0, raw, HIDDEN))) == [raw.replace(b"\n", b"")]


def test_a_line_edited_by_hand_is_still_read(tmp_path: Path) -> None:
    line = b'{ "at": 1, "frame": [null, null, "realtime:leads", "e", {"a": 1}] }\n'

    (raw,) = frames(written(tmp_path, line))

    assert decode(raw).payload == {"a": 1}


def test_a_binary_frame_is_read_back_to_the_byte(tmp_path: Path) -> None:
    raws = [
        encode_user_broadcast("realtime:room", "e", {"id": "1"}, {"a": 1}),
        encode_user_broadcast("realtime:room", "e", None, b"\x00\xff"),
        b"\x02\x01\x01te\x00\xff",
    ]

    assert frames(written(tmp_path, *(frame_line(0, raw, HIDDEN) for raw in raws))) == raws


@pytest.mark.parametrize(
    "raw",
    [
        change(id="1", password_hash="s3cret"),
        change(id="1", Password_Hash="s3cret"),
        encode(
            None, None, "realtime:leads", "broadcast", {"payload": [{"password_hash": "s3cret"}]}
        ).encode(),
        b'[null,null,"t","broadcast",{"payload":{"pass\\u0077ord_hash":"s3cret"}}]',
        b'[null,null,"t","surprise",{},{"password_hash":"s3cret"}]',
        b'[null,null,"t","broadcast",{"payload":{"password_hash":"s3cret"},"payload":{}}]',
        b'\x04\x01\x01\x00\x01te{"a":{"password_hash":"s3cret"},"a":1}',
        encode_user_broadcast("t", "e", None, {"record": {"password_hash": "s3cret"}}),
        encode_user_broadcast("t", "e", {"password_hash": "s3cret"}, 1),
        encode_user_broadcast("t", "e", None, b'{"PASSWORD_HASH":"s3cret"}'),
        b'\x00\x00\x01\x01te{"password_hash":"s3cret"}',
        b'[null,null,"t","broadcast",{"payload":{"password_hash":"s3cret"}}',
        b'"s3cret"',
        b"s3cret",
        b"\x04s3cret",
    ],
)
def test_hidden_columns_do_not_reach_the_file(tmp_path: Path, raw: bytes) -> None:
    path = written(tmp_path, frame_line(0, raw, HIDDEN))

    everything = path.read_bytes() + b"".join(frames(path))

    assert b"s3cret" not in everything
    assert b"password" not in everything.lower()


def test_what_cannot_be_read_leaves_its_kind_and_size() -> None:
    line = orjson.loads(frame_line(0.25, b"not json", HIDDEN))

    assert line == {"at": 0.25, "unreadable": {"kind": "not json", "bytes": 8}}


def test_a_gap_is_read_back_with_the_same_id_each_time(tmp_path: Path) -> None:
    scope = Scope(LEADS.tables, frozenset({"leads"}))
    path = written(tmp_path, gap_line(3.5, gap("connection lost", scope, 100.0, 102.25)))

    (first,), (again,) = list(read(path)), list(read(path))

    assert first == again and isinstance(first.what, Gap)
    assert (first.what.reason, first.what.tables) == ("connection lost", LEADS.tables)
    assert (first.what.opened, first.what.closed) == (1.25, 3.5)


def test_the_header_says_what_was_joined(tmp_path: Path) -> None:
    assert read_header(written(tmp_path)) == {"leads"}


@pytest.mark.parametrize(
    ("content", "mistake"),
    [
        (b"", "is no recording"),
        (b"hello\n", "is no recording"),
        (b"[]\n", "is no recording"),
        (b'{"tidemark_recording":2}\n', "has version 2"),
        (b'{"tidemark_recording":1,"channels":[[]]}\n', "names no channels"),
    ],
)
def test_a_file_that_is_no_recording_is_named(tmp_path: Path, content: bytes, mistake: str) -> None:
    path = tmp_path / "file.jsonl"
    path.write_bytes(content)

    with pytest.raises(CommandFailed, match=mistake):
        read_header(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="No such file"):
        read_header(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b'"at"',
        b'{"at":1}',
        b'{"frame":[]}',
        b'{"at":1,"binary":"?"}',
        b'{"at":1,"gap":5}',
    ],
)
def test_a_broken_line_is_named_by_its_number(tmp_path: Path, line: bytes) -> None:
    good = frame_line(0, b'[null,null,"t","e",{}]', HIDDEN)

    with pytest.raises(CommandFailed, match="line 3 "):
        list(read(written(tmp_path, good, line + b"\n")))


@given(
    st.binary(max_size=40)
    | JSON.map(orjson.dumps)
    | st.builds(lambda p: orjson.dumps([None, None, "t", "e", {"p": p}]), JSON)
)
def test_whatever_was_received_is_written_and_read(raw: bytes) -> None:
    line = frame_line(0, raw, HIDDEN)

    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert orjson.loads(line)["at"] == 0
    try:
        decode(raw)
    except FrameError:
        assert b"unreadable" in line
