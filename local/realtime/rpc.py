"""How is a function of the database called over HTTP?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog
from aiohttp import web

from local.realtime.authorization import Connection, become
from local.realtime.bearer import claims_of
from local.realtime.outage import AWAY
from local.realtime.serializer import Unreadable, from_json
from local.realtime.tenant import Tenant
from local.tokens import Claims, TokenRefused

log = structlog.get_logger()

# Names and types of what goes in, in order; the last `defaults` of them may be left out.
_FUNCTIONS = """
    select proretset as many, prorettype = 'void'::regtype as nothing, pronargdefaults as defaults,
           array(
               select array[name, format_type(type, null)]
               from unnest(
                   coalesce(proallargtypes, proargtypes::oid[]),
                   coalesce(proargnames, '{}'),
                   coalesce(proargmodes, '{}')
               ) with ordinality as arguments (type, name, mode, position)
               where coalesce(mode, 'i') in ('i', 'b', 'v') and type is not null
               order by position
           ) as arguments
    from pg_proc
    where proname = $1 and pronamespace = 'public'::regnamespace and prokind = 'f'
    order by pronargs
"""

# By class or by whole code, as PostgREST does; what is not here is 400.
_STATUS = {
    "08": 503, "09": 500, "0L": 403, "0P": 403, "23503": 409, "23505": 409, "25": 500,
    "25006": 405, "28": 403, "2D": 500, "38": 500, "39": 500, "3B": 500, "40": 500,
    "42501": 403, "42883": 404, "42P01": 404, "53": 503, "54": 500, "55": 500, "57": 500,
    "58": 500, "F0": 500, "HV": 500, "P0": 500, "P0001": 400, "XX": 500,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Function:
    """One function of a name; `arguments` are pairs of name and type."""

    many: bool
    nothing: bool
    defaults: int
    arguments: tuple[tuple[str, str], ...]

    def takes(self, names: set[str]) -> bool:
        own = [name for name, _ in self.arguments]
        return names <= set(own) and set(own[: len(own) - self.defaults]) <= names


def routes(tenant: Tenant) -> list[web.RouteDef]:
    async def call(request: web.Request) -> web.Response:
        return await _call(tenant, request)

    return [
        web.post("/rest/v1/rpc/{function}", call),
        web.get("/rest/v1/rpc/{function}", call),
    ]


async def _call(tenant: Tenant, request: web.Request) -> web.Response:
    try:
        claims = claims_of(tenant, request)
        arguments = await _arguments(request)
    except TokenRefused as refused:
        late = refused.brief == "Token has expired"
        code, text = ("PGRST303", "JWT expired") if late else ("PGRST301", refused.message)
        return _error(401, code, text)
    except Unreadable:
        return _error(400, "PGRST102", "Empty or invalid json")
    name = request.match_info["function"]
    try:
        async with tenant.pool.acquire() as connection:
            return await _run(connection, claims, name, arguments)
    except asyncpg.PostgresError as error:
        return _postgres_error(error, claims)
    except AWAY:
        return _error(503, "PGRST000", "Could not connect with the database.")


async def _run(
    connection: Connection, claims: Claims, name: str, arguments: Mapping[str, Any]
) -> web.Response:
    function = await _find(connection, name, set(arguments))
    if function is None:
        return _not_found(name, arguments)
    used = [pair for pair in function.arguments if pair[0] in arguments]
    async with connection.transaction():
        await become(connection, claims)
        text = await connection.fetchval(_statement(name, used, function), json.dumps(arguments))
    if function.nothing:
        return web.Response(status=204)
    return web.Response(text=text or "null", content_type="application/json")


async def _find(connection: Connection, name: str, given: set[str]) -> Function | None:
    for row in await connection.fetch(_FUNCTIONS, name):
        pairs = tuple((argument[0] or "", argument[1]) for argument in row["arguments"])
        function = Function(row["many"], row["nothing"], row["defaults"], pairs)
        if function.takes(given):
            return function
    return None


def _statement(name: str, used: list[tuple[str, str]], function: Function) -> str:
    """One JSON text out of one JSON text in; Postgres itself casts what it holds."""
    call = ", ".join(f"{_quoted(arg)} := given.{_quoted(arg)}" for arg, _ in used)
    columns = ", ".join(f"{_quoted(arg)} {kind}" for arg, kind in used)
    given = f"json_to_record($1::json) as given ({columns})" if used else "(select $1::json) given"
    result = "coalesce(json_agg(answer), '[]')" if function.many else "to_json(answer)"
    result = "null" if function.nothing else result
    return f"select {result}::text from {given}, lateral public.{_quoted(name)}({call}) as answer"


async def _arguments(request: web.Request) -> dict[str, Any]:
    if request.method == "GET":
        return dict(request.query)
    body = await request.read()
    value = from_json(body) if body else {}
    if not isinstance(value, dict):
        raise Unreadable
    return value


def _postgres_error(error: asyncpg.PostgresError, claims: Claims) -> web.Response:
    code = error.sqlstate or "XX000"
    status = _STATUS.get(code, _STATUS.get(code[:2], 400))
    if status == 403 and claims["role"] == "anon":
        status = 401
    fields = error.as_dict()
    return _error(status, code, fields.get("message", ""), fields.get("detail"), fields.get("hint"))


def _not_found(name: str, arguments: Mapping[str, Any]) -> web.Response:
    names = ", ".join(sorted(arguments))
    what = f"with parameters {names}" if names else "without parameters"
    return _error(
        404,
        "PGRST202",
        f"Could not find the function public.{name}{f'({names})' if names else ''}"
        f"{'' if names else ' without parameters'} in the schema cache",
        f"Searched for the function public.{name} {what}, "
        "but no matches were found in the schema cache.",
    )


def _error(
    status: int, code: str, message: str, details: str | None = None, hint: str | None = None
) -> web.Response:
    body = {"code": code, "details": details, "hint": hint, "message": message}
    return web.json_response(body, status=status)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
