"""How is a WebSocket to Realtime opened and left, and why did it end?"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlencode, urlsplit

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from ..errors import ConfigError, ConnectionLost, HandshakeRefused
from .wire import CLOSE_TIMEOUT, Wire

OPEN_TIMEOUT = 10.0  # seconds for DNS, TCP, TLS and the handshake; a refusal comes after 2
SEND_TIMEOUT = 10.0
MAX_SIZE = 16 * 1024 * 1024  # bytes of a frame; two row images of 1 MiB, broadcasts of 3 MB

LOST = (ConnectionLost, WebSocketException, OSError, EOFError)

# websockets logs the request line at debug level, and the key is in it.
_quiet = logging.getLogger("worker.realtime.websockets")
_quiet.setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Address:
    """Where Realtime is and with which key. Only `host` may be logged."""

    host: str
    url: str
    is_local: bool

    @classmethod
    def of(cls, supabase_url: str, key: str) -> Address:
        """
        Return the address for a project's URL (`https://….supabase.co`) and key.

        The key stands in the query, as the official clients have it: a header is seen by the
        server but not by every gateway in front of it. Raises ConfigError for another URL.
        """
        parts = urlsplit(supabase_url)
        scheme = {"https": "wss", "wss": "wss", "http": "ws", "ws": "ws"}.get(parts.scheme)
        if scheme is None or not parts.hostname:
            raise ConfigError("SUPABASE_URL is not an http(s) URL")
        query = urlencode({"apikey": key, "vsn": "2.0.0"})
        path = parts.path.rstrip("/") + "/realtime/v1/websocket"
        return cls(
            host=parts.netloc.rpartition("@")[2],
            url=f"{scheme}://{parts.netloc}{path}?{query}",
            is_local=parts.hostname in ("127.0.0.1", "localhost", "::1"),
        )


class _Straight(connect):
    """
    Follows no redirect: ten of them make ten connections of one attempt, and websockets raises
    whatever it likes (ValueError, LookupError, UnicodeError) for an address it cannot read.
    """

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


async def opened(address: Address) -> Wire:
    """Return an open connection; raises one of LOST."""
    connection = await _Straight(
        address.url,
        compression=None,
        proxy=None if address.is_local else True,
        open_timeout=OPEN_TIMEOUT,
        close_timeout=CLOSE_TIMEOUT,
        ping_interval=None,  # the heartbeat of the protocol proves more
        max_size=MAX_SIZE,
        logger=_quiet,
        create_connection=Wire,
    )
    return cast(Wire, connection)


async def send(connection: ClientConnection, frames: Sequence[str | bytes]) -> None:
    """Send the frames; raises ConnectionLost when the server does not take them in time."""
    try:
        async with asyncio.timeout(SEND_TIMEOUT):
            for frame in frames:
                await connection.send(frame)
    except TimeoutError:
        raise ConnectionLost("the server takes nothing any more") from None


async def leave(connection: ClientConnection) -> None:
    """Say goodbye, and be gone within CLOSE_TIMEOUT whatever the server does."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT + 0.1):
            await connection.close()
    except TimeoutError:
        pass
    finally:
        connection.transport.abort()


def is_goodbye(error: Exception) -> bool:
    """Say whether the server closed in good order: until then, all that it sent has come."""
    return isinstance(error, ConnectionClosed) and error.rcvd is not None


def ours(error: Exception, host: str) -> ConnectionLost:
    """Name one of LOST in our words: no URL, no key, no value."""
    if isinstance(error, ConnectionLost):
        return error
    if isinstance(error, InvalidStatus):
        return HandshakeRefused(error.response.status_code, _said(error.response.body))
    if isinstance(error, ConnectionClosed):
        return ConnectionLost(_closed(error))
    if isinstance(error, socket.gaierror):
        return ConnectionLost(f"the name {host} cannot be resolved")
    if isinstance(error, ConnectionRefusedError):
        return ConnectionLost(f"nobody listens at {host}")
    if isinstance(error, TimeoutError):
        return ConnectionLost(f"no answer from {host} within {OPEN_TIMEOUT:g} s")
    if isinstance(error, OSError) and error.strerror:
        return ConnectionLost(f"{type(error).__name__}: {error.strerror}")
    return ConnectionLost(type(error).__name__)


def _said(body: bytes | None) -> str:
    try:
        said = orjson.loads(body or b"")["error"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
    return str(said)[:200]


def _closed(error: ConnectionClosed) -> str:
    if error.rcvd is not None and (error.sent is None or error.rcvd_then_sent):
        return f"closed by the server: {error.rcvd.code} {error.rcvd.reason[:100]}".rstrip()
    if error.sent is not None and error.sent.code == 1009:
        return f"a frame of more than {MAX_SIZE} bytes came (1009)"
    if error.sent is not None:
        return f"closed by us: {error.sent.code}"
    return "broken off without a close (1006)"
