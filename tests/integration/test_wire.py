"""How do frames come off the socket, as many at a time as there are?"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import (
    OP_BINARY,
    OP_CLOSE,
    OP_CONT,
    OP_PING,
    OP_PONG,
    OP_TEXT,
    Close,
    Frame,
    Opcode,
)
from websockets.utils import accept_key

from worker.realtime.socket import MAX_SIZE, Address, leave, opened
from worker.realtime.wire import AT_ONCE, MOST_WAITING, Wire

MOST_AT_ONCE = 256 * 1024  # bytes that asyncio and uvloop take from a socket in one go

TEXT = (OP_TEXT, b"frame", True)

Script = Callable[[ServerConnection], Awaitable[None]]


class Watched(Wire):
    """Tells the test what it cannot see from outside."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.full = asyncio.Event()  # it takes nothing more from the socket
        self.to_cancel: asyncio.Task[list[bytes]] | None = None  # as soon as data come

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self.transport.is_reading():
            self.full.set()
        if self.to_cancel is not None:
            self.to_cancel.cancel()


@contextlib.asynccontextmanager
async def served(script: Script) -> AsyncIterator[str]:
    async def follow(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):  # the client may go when it likes
            await script(connection)
            await connection.wait_closed()

    async with serve(follow, "127.0.0.1", 0, compression=None) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


@contextlib.asynccontextmanager
async def wired(script: Script) -> AsyncIterator[Wire]:
    async with served(script) as url:
        wire = await opened(Address.of(url, "key"))
        try:
            yield wire
        finally:
            await leave(wire)


@contextlib.asynccontextmanager
async def watched(script: Script) -> AsyncIterator[Watched]:
    async with served(script) as url:
        to = url.replace("http", "ws")
        wire = await connect(to, proxy=None, compression=None, create_connection=Watched)
        assert isinstance(wire, Watched)
        try:
            yield wire
        finally:
            await leave(wire)


async def read(wire: Wire, count: int) -> list[bytes]:
    """Return the next `count` frames; there must be no more of them in the last batch."""
    frames: list[bytes] = []
    while len(frames) < count:
        frames += await wire.read()
    assert len(frames) == count
    return frames


def together(*frames: tuple[Opcode, bytes, bool]) -> bytes:
    """Return frames as a server would write them in one go."""
    return b"".join(Frame(code, data, fin).serialize(mask=False) for code, data, fin in frames)


def writes(*frames: tuple[Opcode, bytes, bool]) -> Script:
    async def script(connection: ServerConnection) -> None:
        connection.transport.write(together(*frames))

    return script


def sends(frames: Iterable[bytes | str]) -> Script:
    async def script(connection: ServerConnection) -> None:
        for frame in frames:
            await connection.send(frame)

    return script


async def test_frames_are_read_in_the_order_they_came() -> None:
    frames = [b"%d " % number * (number % 97) for number in range(5000)]

    async with wired(sends(frames)) as wire:
        assert await read(wire, len(frames)) == frames


async def test_frames_that_came_together_are_read_together_but_not_too_many() -> None:
    frames = [(OP_TEXT, b"[%d]" % number, True) for number in range(AT_ONCE + 2)]

    async with wired(writes(*frames)) as wire:
        assert await wire.read() == [data for _, data, _ in frames[:AT_ONCE]]
        assert await wire.read() == [data for _, data, _ in frames[AT_ONCE:]]


async def test_who_handles_what_was_read_has_a_turn_before_more_is_read() -> None:
    turns: list[str] = []

    async def handle(wire: Wire) -> None:
        while len(turns) < 6:
            turns.append("handle")
            await asyncio.sleep(0)

    async with wired(writes(*[TEXT] * (3 * AT_ONCE))) as wire:
        await wire.read()
        handling = asyncio.create_task(handle(wire))
        for _ in range(2):
            await wire.read()
            turns.append("read")
        await handling

    assert turns[:4] == ["handle", "read", "handle", "read"]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1024 * 1024, MAX_SIZE])
async def test_a_frame_of_any_size_up_to_the_largest_comes_whole(size: int) -> None:
    async with wired(sends([b"x" * size, b"after"])) as wire:
        assert await read(wire, 2) == [b"x" * size, b"after"]


async def test_a_frame_over_the_largest_closes_with_1009_after_those_before_it() -> None:
    async with wired(sends([b"before", b"x" * (MAX_SIZE + 1), b"after"])) as wire:
        assert await read(wire, 1) == [b"before"]
        with pytest.raises(ConnectionClosed) as closed:
            await wire.read()

    assert closed.value.sent is not None and closed.value.sent.code == 1009


async def test_fragments_are_one_frame_whatever_comes_between_them() -> None:
    script = writes(
        (OP_TEXT, b'["\xc3', False),  # cut in the middle of a letter
        (OP_PING, b"are you there", True),
        (OP_CONT, b'\xa9"', False),
        (OP_CONT, b"", False),
        (OP_CONT, b"]", True),
        (OP_BINARY, b"\x04whole", True),
        (OP_BINARY, b"", False),
        (OP_CONT, b"", True),
        (OP_TEXT, b"last", True),
    )

    async with wired(script) as wire:
        assert await read(wire, 4) == ['["é"]'.encode(), b"\x04whole", b"", b"last"]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
async def test_it_is_all_the_same_where_the_stream_is_cut(data: st.DataObject) -> None:
    sizes = st.sampled_from([0, 1, 5, 125, 126, 127, 1400, 65535, 65536, 70_000])
    frames = data.draw(st.lists(st.tuples(sizes, st.booleans()), min_size=1, max_size=6))
    written, wanted = b"", []
    for number, (size, in_fragments) in enumerate(frames):
        content = bytes((number,)) * size
        half = size // 2
        if in_fragments:
            first, last = (OP_TEXT, content[:half], False), (OP_CONT, content[half:], True)
            written += together(first, (OP_PING, b"?", True), last)
        else:
            written += together((OP_BINARY, content, True), (OP_PONG, b"", True))
        wanted.append(content)
    places = st.lists(st.integers(0, len(written)), max_size=8)
    cuts = sorted({0, len(written), *data.draw(places)})

    async with wired(sends([])) as wire:
        for start, end in pairwise(cuts):
            wire.data_received(written[start:end])
        assert await read(wire, len(wanted)) == wanted


async def test_bytes_that_trickle_in_are_put_together() -> None:
    frames = ((OP_TEXT, b"x" * 200, True), (OP_PING, b"?", True), (OP_BINARY, b"y" * 70_000, True))

    async with wired(sends([])) as wire:
        for byte in together(*frames):
            wire.data_received(bytes((byte,)))
        assert await read(wire, 2) == [b"x" * 200, b"y" * 70_000]


@pytest.mark.parametrize("behind", [b"", b"\x81", b"\x81\x7e\x01", b"\x81\x04\r\n\r\n"])
async def test_frames_that_come_with_the_handshake_are_read(behind: bytes) -> None:
    """`behind` may be the beginning of a frame of which the rest comes later."""
    rest = {0: b"", 1: b"\x01x", 3: b"\x00" + b"x" * 256, 6: b""}[len(behind)]
    sent = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(line for line in head.split(b"\r\n") if b"Sec-WebSocket-Key" in line)
        accept = accept_key(key.partition(b": ")[2].decode()).encode()
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + together(TEXT) + behind
        )
        await sent.wait()
        writer.write(rest + together((OP_TEXT, b"last", True)))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        wire = await opened(Address.of(url, "key"))
        first = await wire.read()
        sent.set()
        while first[-1] != b"last":
            first += await wire.read()
        wire.transport.close()
        await wire.wait_closed()

    whole = {0: [], 1: [b"x"], 3: [b"x" * 256], 6: [b"\r\n\r\n"]}[len(behind)]
    assert first == [b"frame", *whole, b"last"]


@pytest.mark.parametrize(
    "wrong",
    [
        b"\x81\x82maskhi",  # masked: only clients do that
        b"\x81\x88\x00\x00\x00\x00\x00\x00\x00\x01hi",
        b"\xc1\x02hi",  # a reserved bit
        b"\x83\x02hi",  # an opcode that means nothing
        b"\x80\x02hi",  # the end of nothing
        b"\x01\x02hi\x81\x02ho",  # a new frame in the middle of one
    ],
)
async def test_what_is_against_the_protocol_closes_with_1002(wrong: bytes) -> None:
    async with wired(sends([])) as wire:
        wire.data_received(together(TEXT) + wrong + together(TEXT))
        assert await read(wire, 1) == [b"frame"]
        with pytest.raises(ConnectionClosed) as closed:
            await wire.read()

    assert closed.value.sent is not None and closed.value.sent.code == 1002


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012])
async def test_what_came_before_a_close_is_read_first(code: int) -> None:
    async def script(connection: ServerConnection) -> None:
        for number in range(500):
            await connection.send(b"%d" % number)
        await connection.close(code)

    async with wired(script) as wire:
        await wire.wait_closed()

        assert await read(wire, 500) == [b"%d" % number for number in range(500)]
        with pytest.raises(ConnectionClosed) as closed:
            await wire.read()

    assert closed.value.rcvd is not None and closed.value.rcvd.code == code


async def test_a_connection_broken_off_ends_the_reading() -> None:
    received = asyncio.Event()

    async def script(connection: ServerConnection) -> None:
        await connection.send("before")
        await received.wait()
        connection.transport.abort()

    async with wired(script) as wire:
        assert await read(wire, 1) == [b"before"]
        received.set()
        with pytest.raises(ConnectionClosed) as closed:
            await wire.read()

    assert closed.value.rcvd is None


async def test_a_server_that_says_goodbye_and_stays_is_not_waited_for() -> None:
    goodbye = Close(1001, "going away").serialize()
    gone = asyncio.Event()

    async def script(connection: ServerConnection) -> None:
        connection.transport.pause_reading()  # so it never hears the answer
        connection.transport.write(together((OP_TEXT, b"before", True), (OP_CLOSE, goodbye, True)))
        await gone.wait()
        connection.transport.resume_reading()

    async with wired(script) as wire:
        assert await read(wire, 1) == [b"before"]
        with pytest.raises(ConnectionClosed) as closed:
            await wire.read()
        gone.set()

    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001


async def test_a_server_that_pings_and_takes_no_answer_is_left() -> None:
    left = asyncio.Event()

    async def script(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        for _ in range(2000):
            connection.transport.write(together(*[(OP_PING, b"x" * 125, True)] * 100))
            await asyncio.sleep(0)
        await left.wait()
        connection.transport.abort()

    async with wired(script) as wire:
        try:
            async with asyncio.timeout(60):
                with pytest.raises(ConnectionClosed):
                    await wire.read()
        finally:
            left.set()


@pytest.mark.parametrize(("size", "count"), [(8, 60_000), (1400, 12_000), (100_000, 160)])
async def test_what_nobody_reads_waits_at_the_server_and_none_is_lost(
    size: int, count: int
) -> None:
    frames = [b"x" * size] * count

    async with watched(sends(frames)) as wire:
        await wire.full.wait()
        counted = 0
        while counted < len(frames):
            # A chunk holds more than its size counts: each frame has its overhead.
            assert wire.waiting <= MOST_WAITING + MOST_AT_ONCE * (64 + size) // size + size
            counted += len(await wire.read())

    assert counted == len(frames)


async def test_a_reader_that_waits_is_woken_with_nothing() -> None:
    async with wired(sends([])) as wire:
        waiting = asyncio.create_task(wire.read())
        asyncio.get_running_loop().call_soon(wire.wake)

        assert await waiting == []


async def test_a_wake_before_the_reading_counts_once() -> None:
    sent = asyncio.Event()

    async def script(connection: ServerConnection) -> None:
        await sent.wait()
        await connection.send("frame")

    async with wired(script) as wire:
        wire.wake()
        wire.wake()
        assert await wire.read() == []
        sent.set()
        assert await wire.read() == [b"frame"]


async def test_a_reading_cancelled_as_a_frame_comes_loses_none() -> None:
    frames = [b"%d" % number for number in range(200)]
    proceed = asyncio.Semaphore(0)

    async def script(connection: ServerConnection) -> None:
        for frame in frames:
            await proceed.acquire()
            await connection.send(frame)

    async with watched(script) as wire:
        heard: list[bytes] = []
        while len(heard) < len(frames):
            task = wire.to_cancel = asyncio.create_task(wire.read())
            proceed.release()
            with pytest.raises(asyncio.CancelledError):
                await task
            wire.to_cancel = None
            heard += await wire.read()

    assert heard == frames
