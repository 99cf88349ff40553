"""Who may open a socket, and which version does it speak?"""

from __future__ import annotations

import asyncio

import structlog
from aiohttp import web

from local.realtime.acts import RESET
from local.realtime.connection import Connection
from local.realtime.serializer import for_version
from local.realtime.tenant import Tenant
from local.tokens import TokenRefused

log = structlog.get_logger()


def routes(tenant: Tenant) -> list[web.RouteDef]:
    async def accept(request: web.Request) -> web.StreamResponse:
        return await _accept(tenant, request)

    paths = ("/realtime/v1/websocket", "/socket/websocket")
    return [web.get(path, accept) for path in paths]


async def _accept(tenant: Tenant, request: web.Request) -> web.StreamResponse:
    await tenant.faults.thawed()
    serializer = for_version(request.query.get("vsn", "1.0.0"))
    if serializer is None:
        return web.Response(status=403)
    token = request.headers.get("x-api-key") or request.query.get("apikey")
    refusal = _refusal(tenant, token)
    if refusal is not None or token is None:
        await asyncio.sleep(tenant.settings.handshake_error_delay)
        return refusal or _error(401, "API key is missing")
    socket = web.WebSocketResponse(
        autoping=False,
        autoclose=False,
        compress=False,
        max_msg_size=tenant.settings.max_frame,
        timeout=tenant.settings.close_timeout,
    )
    try:
        await socket.prepare(request)
    except ConnectionResetError:
        return web.Response(status=400)  # nobody hears it: the client has hung up
    transport = request.transport
    if not isinstance(transport, asyncio.Transport):
        return socket  # the client went away during the handshake
    connection = Connection(tenant, socket, serializer, token, transport)
    if tenant.faults.hang_up is not None:
        await _turn_away(connection, socket, tenant.faults.hang_up)
        return socket
    tenant.connections.add(connection)
    try:
        await connection.run()
    finally:
        tenant.connections.discard(connection)
    return socket


async def _turn_away(connection: Connection, socket: web.WebSocketResponse, code: int) -> None:
    if code == RESET:
        connection.cut()
    else:
        await socket.close(code=code)


def _refusal(tenant: Tenant, token: str | None) -> web.Response | None:
    if (fault := tenant.faults.refuse_handshakes) is not None:
        return _error(fault.status, fault.message)
    if token is None:
        return _error(401, "API key is missing")
    try:
        tenant.read_token(token)
    except TokenRefused as refused:
        log.info("client.refused", reason=refused.brief)
        return _error(401, refused.brief)
    limit = tenant.settings.max_connections
    if limit is not None and len(tenant.connections) >= limit:
        return _error(429, "Too many connected users")
    if tenant.rates.joins.triggered:
        return _error(429, "Too many joins per second")
    return None


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
