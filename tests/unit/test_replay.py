"""What would the handlers ask for, given the frames of a recording?"""

from pathlib import Path
from typing import Any

import orjson
import pytest

from worker import Broadcast, Change, Effects, Gap
from worker.cache import Caches, Recall
from worker.errors import CommandFailed
from worker.hidden import Hidden
from worker.realtime.gaps import Scope, gap
from worker.realtime.protocol import encode
from worker.replay.recording import frame_line, gap_line, header
from worker.replay.replay import replay
from worker.routing import Route, Routes, on
from worker.routing.declare import declared
from worker.subscription import Binding, Subscription

LEADS = Subscription("leads", (Binding("public", "leads"),))
TABLES = frozenset({"public.leads"})


async def load(key: int) -> dict[str, Any]:
    raise AssertionError("a replay asks no database")


def caches() -> Caches:
    return Caches([Recall("lead", load=load, tables=("public.leads",))])


class Handlers:
    """Handlers with a cache of their own, as a package would have."""

    def __init__(self) -> None:
        self.caches = caches()
        lead = self.caches["lead"]

        @on.change("public.leads")
        async def keep(change: Change, do: Effects) -> None:
            before = await lead.get(change.row["id"])
            do.audit(change)
            do.put("lead", change.row["id"], dict(change.row))
            do.notify("agent", "ann", "moved", before=before)

        @on.broadcast("leads")
        async def fail(message: Broadcast, do: Effects) -> None:
            raise ValueError(message.event)

        @on.gap("public.leads")
        async def gap_closed(gap: Gap, do: Effects) -> None:
            do.count("gaps")

        self.routes = Routes(
            Route(name, handler, declared(handler)[0])
            for name, handler in (("keep", keep), ("fail", fail), ("gap_closed", gap_closed))
        )


def change(number: int, **row: Any) -> bytes:
    data = {
        "schema": "public",
        "table": "leads",
        "type": "UPDATE",
        "commit_timestamp": "2026-11-22T14:03:11.482Z",
        "columns": [{"name": "id", "type": "int8"}],
        "record": {"id": number, **row},
        "errors": None,
    }
    return encode(None, None, "realtime:leads", "postgres_changes", {"data": data}).encode()


def message(event: str) -> bytes:
    payload = {"type": "broadcast", "event": event, "payload": {}}
    return encode(None, None, "realtime:leads", "broadcast", payload).encode()


def recording(folder: Path, *lines: bytes | Gap) -> Path:
    path = folder / "story.jsonl"
    hidden = Hidden(())
    with path.open("wb") as file:
        file.write(header([LEADS], "2026-11-22T14:03:11+00:00"))
        for place, what in enumerate(lines):
            if isinstance(what, Gap):
                file.write(gap_line(place, what))
            else:
                file.write(frame_line(place, what, hidden))
    return path


async def run(path: Path, expected: Path | None = None) -> tuple[int, list[str]]:
    handlers, written = Handlers(), list[str]()
    status = await replay(
        path,
        routes=handlers.routes,
        caches=handlers.caches,
        hidden_columns=frozenset({"password_hash"}),
        write=written.append,
        expected=expected,
    )
    return status, written


async def test_each_event_is_written_with_what_its_handlers_ask_for(tmp_path: Path) -> None:
    status, lines = await run(recording(tmp_path, change(1, status="new", password_hash="x")))

    (said,) = map(orjson.loads, lines)
    assert status == 0
    assert said["event"]["record"] == {"id": 1, "status": "new"}
    (handler,) = said["handlers"]
    audit, put, notice = handler["effects"]
    assert (handler["handler"], audit["effect"], audit["event"]) == (
        "keep",
        "audit",
        said["event"]["id"],
    )
    assert (put["effect"], put["cache"], put["key"]) == ("put", "lead", 1)
    assert (notice["effect"], notice["data"]) == ("notice", {"before": None})


async def test_a_topic_that_was_not_joined_is_left_out_as_it_is_live(tmp_path: Path) -> None:
    foreign = change(1).replace(b"realtime:leads", b"realtime:other")

    assert await run(recording(tmp_path, foreign)) == (0, [])


async def test_a_handler_finds_what_earlier_events_put_into_a_cache(tmp_path: Path) -> None:
    _, lines = await run(recording(tmp_path, change(1, status="new"), change(1, status="won")))

    notice = orjson.loads(lines[1])["handlers"][0]["effects"][2]
    assert notice["data"] == {"before": {"id": 1, "status": "new"}}


async def test_a_gap_empties_the_caches_of_its_tables(tmp_path: Path) -> None:
    lost = gap("connection lost", Scope(TABLES, frozenset({"leads"})), 0.0, 1.0)

    _, lines = await run(recording(tmp_path, change(1), lost, change(1)))

    said = [orjson.loads(line) for line in lines]
    assert said[1]["event"]["reason"] == "connection lost"
    assert said[1]["handlers"][0]["effects"][0]["name"] == "gaps"
    assert said[2]["handlers"][0]["effects"][2]["data"] == {"before": None}


async def test_a_failing_handler_is_written_and_makes_the_status_one(tmp_path: Path) -> None:
    status, lines = await run(recording(tmp_path, message("boom"), change(1)))

    assert status == 1
    assert orjson.loads(lines[0])["handlers"] == [{"failed": "ValueError: boom", "handler": "fail"}]
    assert len(lines) == 2


async def test_two_replays_of_one_recording_are_the_same_to_the_byte(tmp_path: Path) -> None:
    path = recording(tmp_path, change(1), change(1), change(2), message("boom"))

    assert await run(path) == await run(path)


async def test_an_expected_replay_has_no_difference(tmp_path: Path) -> None:
    path = recording(tmp_path, change(1), change(1), message("boom"))
    expected = tmp_path / "story.expected"
    expected.write_text("\n".join((await run(path))[1]) + "\n")

    assert await run(path, expected) == (0, [])


async def test_what_differs_is_named_by_its_event_and_place(tmp_path: Path) -> None:
    path = recording(tmp_path, change(1, status="new"), change(2))
    lines = [orjson.loads(line) for line in (await run(path))[1]]
    event_id = lines[0]["event"]["id"]
    lines[0]["handlers"][0]["effects"][1]["value"]["status"] = "won"
    missing = orjson.loads(orjson.dumps(lines[1]))
    missing["event"]["id"] = "00000000-0000-0000-0000-000000000000"
    expected = tmp_path / "story.expected"
    expected.write_bytes(b"\n".join(map(orjson.dumps, [lines[0], missing])))

    status, differences = await run(path, expected)

    assert status == 1
    assert differences == [
        "missing: UPDATE of public.leads 00000000-0000-0000-0000-000000000000",
        f"unexpected: UPDATE of public.leads {lines[1]['event']['id']}",
        f"UPDATE of public.leads {event_id}: "
        'handlers[0].effects[1].value.status: expected "won", got "new"',
    ]


async def test_another_order_is_a_difference(tmp_path: Path) -> None:
    path = recording(tmp_path, change(1), change(2))
    expected = tmp_path / "story.expected"
    expected.write_text("\n".join(reversed((await run(path))[1])))

    assert await run(path, expected) == (1, ["the same events, in another order"])


@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [
        ('"id":1', '"id":1.0', "event.record.id: expected 1.0, got 1"),
        ('"id":1', '"id":true', "event.record.id: expected true, got 1"),
        ('"id":1', '"id":1,"x":null', "event.record.x: expected null, got nothing"),
    ],
)
async def test_what_python_takes_for_equal_is_a_difference(
    tmp_path: Path, before: str, after: str, difference: str
) -> None:
    path, expected = recording(tmp_path, change(1)), tmp_path / "story.expected"
    (line,) = (await run(path))[1]
    assert f"{{{before}}}" in line
    expected.write_text(line.replace(before, after))

    status, said = await run(path, expected)

    assert status == 1
    assert any(difference in one for one in said)


async def test_an_event_too_many_is_a_difference(tmp_path: Path) -> None:
    path, expected = recording(tmp_path, change(1)), tmp_path / "story.expected"
    (line,) = (await run(path))[1]
    expected.write_text(f"{line}\n{line}")

    assert (await run(path, expected))[0] == 1


@pytest.mark.parametrize("content", [None, b"hello", b"[]", b"\xff"])
async def test_an_expected_file_that_is_none_is_named(
    tmp_path: Path, content: bytes | None
) -> None:
    expected = tmp_path / "story.expected"
    if content is not None:
        expected.write_bytes(content)

    with pytest.raises(CommandFailed):
        await run(recording(tmp_path, change(1)), expected)
