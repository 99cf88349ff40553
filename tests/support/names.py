"""How does a test take a server's name away?"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from local.realtime.server import Server

NAME = "localhost"  # whatever proxy this machine has, nobody asks it for this one


@contextmanager
def named(server: Server) -> Iterator[str]:
    """The server's URL with a name that resolves in this loop, but not while `dns` is thrown."""
    loop = asyncio.get_running_loop()
    look_up = loop.getaddrinfo

    async def getaddrinfo(host: Any, port: Any, **hints: Any) -> Any:
        if host == NAME and server.faults.dns:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return await look_up("127.0.0.1" if host == NAME else host, port, **hints)

    setattr(loop, "getaddrinfo", getaddrinfo)  # noqa: B010 - mypy lets nobody assign to a method
    try:
        yield server.url.replace("127.0.0.1", NAME)
    finally:
        delattr(loop, "getaddrinfo")  # the method of the class is there again
