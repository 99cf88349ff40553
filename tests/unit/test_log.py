"""Does a log line say what happened, and no secret?"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from worker import log

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.c2lnbmF0dXJl"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged in a test; the logging of the test run is put back at the end."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in log.TALKATIVE}
    stream = io.StringIO()
    yield stream
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def said(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_time_level_and_event(lines: io.StringIO) -> None:
    log.configure("info", "auto", lines)
    structlog.get_logger().info("worker.ready", channels=3, tables=("a", "b"))

    (line,) = said(lines)

    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line["timestamp"].endswith("Z")
    del line["timestamp"]
    assert line == {"level": "info", "event": "worker.ready", "channels": 3, "tables": ["a", "b"]}


def test_less_than_the_level_is_not_said(lines: io.StringIO) -> None:
    log.configure("warning", "json", lines)
    structlog.get_logger().info("event.received")
    structlog.get_logger().warning("connection.lost")

    assert [line["event"] for line in said(lines)] == ["connection.lost"]


@pytest.mark.parametrize("form", ["json", "pretty"])
@pytest.mark.parametrize(
    "context",
    [
        {"apikey": "hunter2"},
        {"supabase_key": "hunter2"},
        {"access_token": "hunter2"},
        {"PASSWORD": "hunter2"},
        {"headers": {"Authorization": "hunter2"}},
        {"reason": "postgresql://me:hun@ter2:hunter2@db/shop refused"},
        {"urls": ["wss://x.supabase.co/realtime/v1/websocket?apikey=hunter2&vsn=2.0.0"]},
        {"reason": "sb_secret_hunter2 was refused"},
        {"reason": f"token {JWT}hunter2 expired"},
        {"reason": "Authorization: Bearer hunter2"},
        {"error": ValueError("password=hunter2")},
    ],
)
def test_a_secret_is_taken_out(lines: io.StringIO, form: str, context: dict[str, Any]) -> None:
    log.configure("info", form, lines)

    structlog.get_logger().info("connection.lost", **context)

    assert "connection.lost" in lines.getvalue()
    assert log.REDACTED in lines.getvalue()
    assert "hunter2" not in lines.getvalue()
    assert "eyJ" not in lines.getvalue()


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_a_traceback_has_no_values(lines: io.StringIO, form: str) -> None:
    log.configure("info", form, lines)

    def fail(row: str) -> None:
        raise LookupError("no such agent")

    try:
        fail("hunter" + "2")
    except LookupError:
        structlog.get_logger().exception("handler.failed")

    assert "LookupError: no such agent" in lines.getvalue()
    assert "in fail" in lines.getvalue()
    assert "hunter2" not in lines.getvalue()


def test_libraries_are_heard_from_warning_on(lines: io.StringIO) -> None:
    log.configure("debug", "json", lines)
    logging.getLogger("websockets.client").info("GET /realtime?apikey=hunter2")
    logging.getLogger("httpx").debug("HTTP Request: POST")
    logging.getLogger("httpx").error("no way to %s", "x?apikey=hunter2")

    (line,) = said(lines)

    assert (line["event"], line["level"], line["logger"]) == ("library.failed", "error", "httpx")
    assert line["message"] == f"no way to x?apikey={log.REDACTED}"


@pytest.mark.parametrize("value", [2**70, "\ud800"])
def test_what_json_finds_hard_is_said_all_the_same(lines: io.StringIO, value: object) -> None:
    log.configure("info", "json", lines)
    structlog.get_logger().info("worker.ready", value=value)

    assert said(lines)[0]["value"] == value
