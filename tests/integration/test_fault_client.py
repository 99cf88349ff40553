"""What does the client of the faults say when the other side is not what it takes it for?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from local import fault
from local.realtime.server import Server
from tests.support.sockets import token
from worker.errors import CommandFailed


@asynccontextmanager
async def answering(status: int, text: str) -> AsyncIterator[str]:
    """The URL of a server that answers everything with this."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text=text)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def listed(url: str, key: str = "key") -> list[fault.Fault]:
    with fault.reaching(url, key) as server:
        return fault.listed(server)


@pytest.mark.parametrize(
    ("status", "text"), [(404, "404: Not Found"), (200, "<html>"), (200, "[]"), (200, "{}")]
)
async def test_a_stranger_is_taken_for_no_local_server(status: int, text: str) -> None:
    async with answering(status, text) as url:
        with pytest.raises(CommandFailed, match="no local server"):
            await asyncio.to_thread(listed, url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "http://realtime.invalid"])
async def test_nobody_there_is_said(url: str) -> None:
    with pytest.raises(CommandFailed, match="does not answer"):
        await asyncio.to_thread(listed, url)


async def test_what_the_server_says_is_passed_on(realtime: Server) -> None:
    with fault.reaching(realtime.url, token()) as server:
        with pytest.raises(CommandFailed, match="did you mean freeze"):
            await asyncio.to_thread(fault.throw, server, ("freez", None))
        with pytest.raises(CommandFailed, match="out of range"):
            await asyncio.to_thread(fault.throw, server, ("late_joins", "-1"))
        thrown = await asyncio.to_thread(fault.throw, server, ("late_joins", "2"))

    assert thrown["value"] == "2"
    assert realtime.faults.late_joins == 2
