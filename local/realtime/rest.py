"""How are broadcasts sent over HTTP?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from aiohttp import web

from local.realtime.authorization import may_write
from local.realtime.bearer import claims_of
from local.realtime.broadcast import size, tell
from local.realtime.join import is_true
from local.realtime.outage import ERRORS
from local.realtime.serializer import Unreadable, UserBroadcast, from_json, to_json
from local.realtime.tenant import Tenant
from local.realtime.topics import Topic
from local.tokens import Claims, TokenRefused

log = structlog.get_logger()

TOO_FAST = "You have exceeded your rate limit"
TOO_MANY = "Too many messages to broadcast, please reduce the batch size"
TOO_BIG = "Payload size exceeds tenant limit"
PREFIXES = ("/realtime/v1", "")  # through the gateway, and as the server itself has them


def routes(tenant: Tenant) -> list[web.RouteDef]:
    async def batch(request: web.Request) -> web.Response:
        return await _batch(tenant, request)

    async def single(request: web.Request) -> web.Response:
        return await _single(tenant, request)

    async def ping(_: web.Request) -> web.Response:
        return web.json_response({"message": "Success"})

    found = []
    for prefix in PREFIXES:
        found.append(web.post(f"{prefix}/api/broadcast", batch))
        found.append(web.post(f"{prefix}/api/broadcast/{{topic}}/events/{{event}}", single))
        found.append(web.get(f"{prefix}/api/ping", ping))
    return found


async def _batch(tenant: Tenant, request: web.Request) -> web.Response:
    """Several messages; those the token may not write are left out, and it is 202 all the same."""
    try:
        claims = claims_of(tenant, request)
        body = from_json(await request.read())
    except TokenRefused:
        return _unauthorized()
    except Unreadable:
        return _message(400, "Bad Request")
    if tenant.rates.events.triggered:
        return _message(429, TOO_FAST)
    messages = body.get("messages") if isinstance(body, dict) else None
    errors = _batch_errors(messages, tenant.settings.max_payload)
    if errors is not None or not isinstance(messages, list):
        return web.json_response({"errors": {"messages": errors}}, status=422)
    if not tenant.rates.events.has_room_for(len(messages)):
        return _message(429, TOO_MANY)
    # Public ones first, then the private ones topic by topic: so the real one goes through them.
    for message in messages:
        if not is_true(message.get("private")):
            _tell(tenant, message, private=False)
    await _tell_private(tenant, claims, [m for m in messages if is_true(m.get("private"))])
    return web.Response(status=202)


async def _tell_private(tenant: Tenant, claims: Claims, messages: list[Any]) -> None:
    for topic in dict.fromkeys(message["topic"] for message in messages):
        if await _may_write(tenant, claims, topic):
            for message in messages:
                if message["topic"] == topic:
                    _tell(tenant, message, private=True)


def _tell(tenant: Tenant, message: Mapping[str, Any], *, private: bool) -> None:
    payload = {"event": message["event"], "payload": message["payload"], "type": "broadcast"}
    if message.get("id") is not None:
        payload["meta"] = {"id": message["id"]}
    tenant.rates.events.count()
    tell(tenant, Topic(message["topic"], private), payload)


def _batch_errors(messages: object, max_payload: int) -> list[Any] | None:
    """What is wrong, message by message; None where nothing is."""
    if not isinstance(messages, list):
        return ["can't be blank" if messages is None else "is invalid"]
    if not messages:
        return ["can't be blank"]
    errors = [_message_errors(message, max_payload) for message in messages]
    return errors if any(errors) else None


def _message_errors(message: object, max_payload: int) -> dict[str, list[str]]:
    given = message if isinstance(message, dict) else {}
    errors: dict[str, list[str]] = {}
    for name, kind in (("topic", str), ("event", str), ("payload", dict)):
        value = given.get(name)
        if value is None or value == "":
            errors[name] = ["can't be blank"]
        elif not isinstance(value, kind):
            errors[name] = ["is invalid"]
    if "payload" not in errors and size(given["payload"]) > max_payload:
        errors["payload"] = [TOO_BIG]
    return errors


async def _single(tenant: Tenant, request: web.Request) -> web.Response:
    """One message, topic and event in the path: the body is the payload itself."""
    try:
        claims = claims_of(tenant, request)
    except TokenRefused:
        return _unauthorized()
    body = await request.read()
    if request.content_type == "application/octet-stream":
        message = UserBroadcast(request.match_info["event"], body, is_json=False)
    elif request.content_type == "application/json":
        try:
            payload = _json_object(body)
        except Unreadable:
            return _message(400, "Bad Request")
        message = UserBroadcast(request.match_info["event"], to_json(payload), is_json=True)
    else:
        return _message(415, "Unsupported Media Type")
    if tenant.rates.events.triggered:
        return _message(429, TOO_FAST)
    if size(message) > tenant.settings.max_payload:
        return web.json_response({"errors": {"payload": [TOO_BIG]}}, status=422)
    topic = Topic(request.match_info["topic"], request.query.get("private") == "true")
    if topic.private and not await _may_write(tenant, claims, topic.name):
        return _message(403, "Unauthorized")
    tenant.rates.events.count()
    tell(tenant, topic, message)
    return web.Response(status=202)


def _json_object(body: bytes) -> Any:
    """As Plug reads a body: nothing is an empty object, and what is no object is put into one."""
    value = from_json(body) if body else {}
    return value if isinstance(value, dict) else {"_json": value}


async def _may_write(tenant: Tenant, claims: Claims, topic: str) -> bool:
    try:
        return await may_write(tenant.pool, claims, topic, "broadcast")
    except ERRORS as error:
        log.warning("channel_policies.failed", reason=type(error).__name__)
        return False


def _unauthorized() -> web.Response:
    return _message(401, "Unauthorized")


def _message(status: int, text: str) -> web.Response:
    return web.json_response({"message": text}, status=status)
