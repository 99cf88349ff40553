"""Are the bytes of pgoutput, captured from PostgreSQL 18, understood?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from local.realtime.changes.pgoutput import (
    UNCHANGED,
    Begin,
    Changed,
    Other,
    Reader,
    Relation,
    RelationColumn,
    Row,
    UnreadableMessage,
    decode,
)

# create table t (id int primary key, v text, w char(3))
BEGIN = b"B\x00\x00\x00\x00\x01\xf6]\x00\x00\x03\x03\xdf\xd6\xe8\xf8P\x00\x00\x03\x00"
RELATION = (
    b"R\x00\x00@\x99public\x00t\x00d\x00\x03"
    b"\x01id\x00\x00\x00\x00\x17\xff\xff\xff\xff"
    b"\x00v\x00\x00\x00\x00\x19\xff\xff\xff\xff"
    b"\x00w\x00\x00\x00\x04\x12\x00\x00\x00\x07"
)
# insert into t values (1, 'é', null)
INSERT = b"I\x00\x00@\x99N\x00\x03t\x00\x00\x00\x011t\x00\x00\x00\x02\xc3\xa9n"
COMMIT = (
    b"C\x00\x00\x00\x00\x00\x01\xf6]\x00\x00\x00\x00\x00\x01\xf6]0\x00\x03\x03\xdf\xd6\xe8\xf8P"
)
# update t set id = 2, w = 'ab'; v is kept out of line
UPDATE_OF_KEY = (
    b"U\x00\x00@\x99K\x00\x03t\x00\x00\x00\x011nnN\x00\x03t\x00\x00\x00\x012ut\x00\x00\x00\x03ab "
)
DELETE = b"D\x00\x00@\x99K\x00\x03t\x00\x00\x00\x012nn"
# alter table t replica identity full; update t set v = null
RELATION_FULL = RELATION.replace(b"t\x00d", b"t\x00f").replace(b"\x00v\x00", b"\x01v\x00")
UPDATE_FULL = (
    b"U\x00\x00@\x99O\x00\x03t\x00\x00\x00\x013t\x00\x00\x00\x01anN\x00\x03t\x00\x00\x00\x013nn"
)

T = Relation(
    16537,
    "public",
    "t",
    full=False,
    columns=(
        RelationColumn("id", True, 23, -1),
        RelationColumn("v", False, 25, -1),
        RelationColumn("w", False, 1042, 7),
    ),
)
COMMITTED = datetime(2026, 11, 22, 17, 47, 28, 314448, tzinfo=UTC)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (RELATION, T),
        (INSERT, Row(16537, "INSERT", ("1", "é", None), None)),
        (UPDATE_OF_KEY, Row(16537, "UPDATE", ("2", UNCHANGED, "ab "), ("1", None, None))),
        (UPDATE_FULL, Row(16537, "UPDATE", ("3", None, None), ("3", "a", None))),
        (DELETE, Row(16537, "DELETE", None, ("2", None, None))),
        (COMMIT, Other("C")),
        (b"T\x00\x00\x00\x01\x00\x00\x00@\x99", Other("T")),
    ],
)
def test_a_message_is_decoded(data: bytes, message: object) -> None:
    assert decode(data) == message


def test_a_transaction_begins_with_its_commit_time() -> None:
    assert decode(BEGIN) == Begin(COMMITTED, xid=768)


def test_full_identity_is_told_apart() -> None:
    relation = decode(RELATION_FULL)

    assert isinstance(relation, Relation)
    assert relation.full
    assert relation.columns[1].identity


@pytest.mark.parametrize("message", [BEGIN, RELATION, INSERT, UPDATE_OF_KEY, DELETE])
def test_a_message_cut_short_is_refused_wherever_it_is_cut(message: bytes) -> None:
    for length in range(len(message)):
        with pytest.raises(UnreadableMessage):
            decode(message[:length])


@given(st.binary())
@example(b"B" + bytes(8) + b"\x03\x81" + bytes(6))  # committed in the year 10,000 or later
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        decode(data)
    except UnreadableMessage:
        return


def test_a_row_comes_with_its_table_and_commit_time() -> None:
    reader = Reader()

    taken = [reader.take(data) for data in (BEGIN, RELATION, INSERT, COMMIT)]

    insert = Row(16537, "INSERT", ("1", "é", None), None)
    assert taken == [None, None, Changed(T, COMMITTED, insert), None]


def test_a_table_announced_again_is_the_new_one_from_then_on() -> None:
    reader = Reader()
    reader.take(RELATION)
    before = reader.take(INSERT)
    reader.take(RELATION_FULL)
    after = reader.take(UPDATE_FULL)

    assert before is not None and not before.relation.full
    assert after is not None and after.relation.full


def test_a_row_of_an_unknown_table_is_refused() -> None:
    with pytest.raises(UnreadableMessage, match="unknown relation"):
        Reader().take(INSERT)
