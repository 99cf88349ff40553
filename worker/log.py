"""How does the worker say what happened?"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TextIO

import orjson
import structlog
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "[redacted]"

# These say the URL they speak to at INFO or DEBUG, and Realtime's has the key in it.
TALKATIVE = ("websockets", "httpx", "httpcore", "hpack", "h2", "realtime", "urllib3", "asyncpg")

_FIRST = ("timestamp", "level", "event")  # what a reader's eye looks for

_SECRET_NAME = re.compile(
    r"(?:^|_)(?:key|apikey|token|jwt|password|passwd|secret|authorization|dsn|database_url)$",
    re.IGNORECASE,
)
# One of these is in every secret below; a line of log is written for each event handled.
_SUSPICIOUS = re.compile(r"[=@]|eyJ|sb_|[Bb][Ee][Aa][Rr][Ee][Rr]")
_SECRETS = (
    # The last `@` counts: a password may have one in it.
    (re.compile(r"\b((?:postgres|postgresql)://[^:/@\s]*):\S+@"), rf"\1:{REDACTED}@"),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?"), REDACTED),  # a JWT
    (re.compile(r"\b(sb_(?:secret|publishable))_[\w-]+"), rf"\1_{REDACTED}"),
    (re.compile(r"(?i)\b(bearer)\s+[\w.~+/=-]+"), rf"\1 {REDACTED}"),
    (
        re.compile(r"(?i)\b((?:api|access_|refresh_)?(?:key|token)|password|secret)=[^&\s'\"]+"),
        rf"\1={REDACTED}",
    ),
)


def configure(level: str = "info", form: str = "auto", stream: TextIO | None = None) -> None:
    """
    Send events to standard error: for people on a terminal, else one JSON object a line.

    `level` is debug, info, warning or error; `form` is auto, pretty or json.
    """
    stream = stream or sys.stderr
    pretty = stream.isatty() if form == "auto" else form == "pretty"
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # As text, without the values of local variables: there are rows and keys among them.
            structlog.processors.format_exc_info,
            redact,
            _renderer(pretty, stream),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    _route_libraries()


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Take out what looks like a secret: the last line of defence, for nothing should come here."""
    for name, value in event.items():
        event[name] = _clean(name, value)
    return event


def without_secrets(text: str) -> str:
    """Return the text without what looks like a key, a token or a URL's password."""
    cleaned = _clean("", text)
    assert isinstance(cleaned, str)
    return cleaned


@lru_cache(1024)  # a mapping's keys are names, too, and may be anything
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _clean(name: str, value: Any) -> Any:
    if _is_secret(name):
        return REDACTED
    if isinstance(value, str):
        if _SUSPICIOUS.search(value) is None:
            return value
        for pattern, instead in _SECRETS:
            value = pattern.sub(instead, value)
        return value
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {key: _clean(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", inner) for inner in value]
    return _clean("", str(value))


def _renderer(pretty: bool, stream: TextIO) -> Processor:
    if pretty:
        return ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain_traceback)
    return structlog.processors.JSONRenderer(serializer=_json)


def _json(event: Mapping[str, Any], default: Callable[[Any], Any] | None = None) -> str:
    event = {**{name: event[name] for name in _FIRST if name in event}, **event}
    try:
        return orjson.dumps(event, default=default).decode()
    except TypeError:  # an integer over 64 bits, half a surrogate pair: said all the same
        return json.dumps(event, default=default)


def _route_libraries() -> None:
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers[:] = [_Library()]
    root.setLevel(logging.WARNING)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


class _Library(logging.Handler):
    """Says in our way what a library says in the standard library's."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        said = {
            "logger": record.name,
            "message": record.getMessage(),
            "exc_info": record.exc_info,
        }
        if record.levelno >= logging.ERROR:
            log.error("library.failed", **said)
        else:
            log.warning("library.warned", **said)
