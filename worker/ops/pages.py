"""What can be asked of the worker over HTTP?"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import prometheus_client
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import metrics
from ..errors import CommandFailed
from .health import Health


def listening(host: str, port: int) -> socket.socket:
    """Take the port. Raises CommandFailed when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise CommandFailed(f"port {port} of {host} cannot be served: {error}") from error


def pages(health: Health) -> Starlette:
    """The pages: what is alive, what is ready and why not, and the metrics."""

    async def live(_: Request) -> Response:
        return _json({"alive": True})

    async def ready(_: Request) -> Response:
        reasons = health.reasons()
        body = {"ready": not reasons, "reasons": reasons, "channels": dict(health.link.channels)}
        return _json(body, 503 if reasons else 200)

    async def numbers(_: Request) -> Response:
        text = prometheus_client.generate_latest(metrics.registry)
        return Response(text, headers={"content-type": prometheus_client.CONTENT_TYPE_LATEST})

    async def index(_: Request) -> Response:
        return _json({"name": "tidemark", "ready": health.ready, "pages": list(served)})

    served = {"/live": live, "/ready": ready, "/metrics": numbers}
    return Starlette(routes=[Route(path, page) for path, page in {"/": index, **served}.items()])


async def serve(health: Health, taken: socket.socket) -> None:
    """Serve the pages on a port that was taken, until cancelled."""
    config = uvicorn.Config(
        pages(health),
        access_log=False,
        log_config=None,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    try:
        await server.serve(sockets=[taken])
    finally:
        server.force_exit = True  # nobody's request keeps the worker from ending
        if server.started:
            await server.shutdown(sockets=[taken])
        taken.close()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: they are the worker's."""
        yield


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
