"""How are faults thrown and taken back over HTTP while the server runs?"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from local.realtime.bearer import token_of
from local.realtime.serializer import Unreadable, from_json
from local.realtime.switch import BadValue, UnknownSwitch
from local.realtime.tenant import Tenant
from local.tokens import TokenRefused

PATH = "/local/faults"


def routes(tenant: Tenant) -> list[web.RouteDef]:
    """
    GET lists them; PUT with nothing or `{"value": …}` throws one; DELETE takes it back.

    The key of the service role is asked for, and is good however expired `token_expired` says it
    is: whoever broke the server must be able to mend it. 404 for a name, 422 for a value that
    does not exist.
    """

    async def show(request: web.Request) -> web.Response:
        return _refusal(tenant, request) or _list(tenant)

    async def throw(request: web.Request) -> web.Response:
        return _refusal(tenant, request) or await _throw(tenant, request)

    async def take_back(request: web.Request) -> web.Response:
        return _refusal(tenant, request) or _take_back(tenant, request)

    one = f"{PATH}/{{name}}"
    return [web.get(PATH, show), web.put(one, throw), web.delete(one, take_back)]


def _refusal(tenant: Tenant, request: web.Request) -> web.Response | None:
    try:
        claims = tenant.read_signed(token_of(request))
    except TokenRefused as refused:
        return _error(401, refused.message)
    if claims["role"] != "service_role":
        return _error(403, "only the service role may break the server")
    return None


def _list(tenant: Tenant) -> web.Response:
    return web.json_response(
        {"faults": [_fault(tenant, name) for name in tenant.faults.switches()]}
    )


async def _throw(tenant: Tenant, request: web.Request) -> web.Response:
    name = request.match_info["name"]
    try:
        if tenant.faults.named(name).when == "at start":
            return _error(409, f"{name} can be thrown only when the server is started")
        tenant.faults.throw(name, _value(await request.read()))
    except UnknownSwitch as error:
        return _error(404, str(error))
    except BadValue as error:
        return _error(422, f"{name}: {error}")
    return web.json_response(_fault(tenant, name))


def _take_back(tenant: Tenant, request: web.Request) -> web.Response:
    name = request.match_info["name"]
    try:
        tenant.faults.take_back(name)
    except UnknownSwitch as error:
        return _error(404, str(error))
    return web.json_response(_fault(tenant, name))


def _value(body: bytes) -> str | None:
    """The text of the value; None for the default. Raises BadValue."""
    try:
        said = from_json(body) if body else {}
    except Unreadable:
        said = None
    if not isinstance(said, dict) or said.keys() - {"value"}:
        raise BadValue('the body is empty or {"value": …}')
    value = said.get("value")
    if value is None or value is True:
        return None
    if isinstance(value, str | int | float) and value is not False:
        return str(value)
    raise BadValue("the value is a text or a number")


def _fault(tenant: Tenant, name: str) -> dict[str, Any]:
    switch = tenant.faults.switches()[name]
    return {
        "name": name,
        "value": tenant.faults.shown(name),
        "when": switch.when,
        "type": switch.kind.name,
        "allowed": switch.kind.allowed,
        "default": switch.default,
        "meaning": switch.meaning,
    }


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
