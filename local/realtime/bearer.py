"""Whose token came with an HTTP request?"""

from __future__ import annotations

from aiohttp import web

from local.realtime.tenant import Tenant
from local.tokens import Claims, TokenRefused


def claims_of(tenant: Tenant, request: web.Request) -> Claims:
    """The claims of the request's token. Raises TokenRefused."""
    return tenant.read_token(token_of(request))


def token_of(request: web.Request) -> str:
    """
    What the Authorization header says, or else the apikey. Raises TokenRefused for neither.

    A client that nobody has signed in to sends its key in both.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        token = request.headers.get("apikey") or request.query.get("apikey", "")
    if not token:
        raise TokenRefused("MissingAPIKey", "API key is missing")
    return token.strip()
