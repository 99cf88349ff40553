"""How long do we wait for a server that is not there, or not well?"""

import asyncio
import socket
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import structlog

from worker.backoff import reconnects

from .scripted import (
    KEY,
    Ear,
    Peer,
    make,
    one_after_another,
    running,
    scripted,
)


async def test_a_flapping_server_is_not_hammered() -> None:
    """Time is counted in the waits between attempts: none of them is really waited for."""
    attempts: list[float] = []
    clock = 0.0
    done = asyncio.Event()

    async def pass_time(seconds: float) -> None:
        nonlocal clock
        clock += seconds
        attempts.append(clock)
        if len(attempts) >= 12:
            done.set()
            await asyncio.get_running_loop().create_future()

    async def accepts_and_hangs_up(peer: Peer) -> None:
        await peer.until("phx_join")

    ear = Ear()
    waits_of = {"backoff": reconnects, "sleep": pass_time}
    async with scripted(accepts_and_hangs_up) as url, running(make(url, ear, **waits_of)):
        await done.wait()

    within = 1 + sum(at <= 30 for at in attempts)
    assert within <= 10, attempts
    assert attempts == sorted(attempts)


async def test_health_starts_the_backoff_over() -> None:
    made = 0
    slept: list[float] = []
    done = asyncio.Event()

    def counted() -> Iterator[float]:
        return (float(number) for number in count(1))

    async def note(seconds: float) -> None:
        nonlocal made
        slept.append(seconds)
        if len(slept) == 4:
            done.set()
            await asyncio.get_running_loop().create_future()

    async def hangs_up(peer: Peer) -> None:
        await peer.until("phx_join")

    async def lives_for_two_heartbeats(peer: Peer) -> None:
        while peer.heartbeats < 2:
            await peer.serve_one()

    script = one_after_another(hangs_up, hangs_up, lives_for_two_heartbeats, hangs_up)
    async with scripted(script) as url, running(make(url, Ear(), backoff=counted, sleep=note)):
        await done.wait()

    assert slept == [1, 2, 1, 2]


async def test_nobody_listening_is_said_with_the_host_and_tried_again() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    tried = asyncio.Semaphore(0)

    async def pause(seconds: float) -> None:
        tried.release()
        await asyncio.sleep(0)

    with structlog.testing.capture_logs() as lines:
        async with running(make(f"http://127.0.0.1:{port}", Ear(), sleep=pause)) as link:
            for _ in range(3):
                await tried.acquire()
            assert not link.ready and link.channels == {"leads": "down"}

    lost = next(line for line in lines if line["event"] == "connection.lost")
    assert lost["reason"] == f"nobody listens at 127.0.0.1:{port}"
    assert KEY not in repr(lines)


async def test_a_name_that_does_not_resolve_is_said() -> None:
    said = asyncio.Event()

    async def pause(seconds: float) -> None:
        said.set()
        await asyncio.get_running_loop().create_future()

    with structlog.testing.capture_logs() as lines:
        async with running(make("http://no-such-host.invalid", Ear(), sleep=pause)):
            await said.wait()

    lost = next(line for line in lines if line["event"] == "connection.lost")
    assert "no-such-host.invalid" in lost["reason"]


async def refused(answer: bytes) -> tuple[dict[str, Any], int]:
    """Return what is said of a handshake answered so, and how many there were of one attempt."""
    said = asyncio.Event()
    attempts: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async def pause(seconds: float) -> None:
        said.set()
        await asyncio.get_running_loop().create_future()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with structlog.testing.capture_logs() as lines:
        async with server, running(make(f"http://127.0.0.1:{port}", Ear(), sleep=pause)):
            await said.wait()

    line = next(line for line in lines if line["event"] == "connection.refused")
    return dict(line), len(attempts)


async def test_a_refused_handshake_is_said_with_its_status_and_reason() -> None:
    body = b'{"error":"Token has expired"}'
    head = f"HTTP/1.1 401 Unauthorized\r\nContent-Length: {len(body)}\r\n\r\n"

    line, _ = await refused(head.encode() + body)

    assert (line["status"], line["reason"]) == (401, "Token has expired")


@pytest.mark.parametrize(
    "location", ["/", "ws://[", "ws://host:port/", "ws://a..b/", "/\r\nLocation: /"]
)
async def test_a_redirect_is_a_refusal_and_one_attempt(location: str) -> None:
    answer = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"

    line, attempts = await refused(answer.encode())

    assert (line["status"], attempts) == (302, 1)
