"""How does a user sign in, stay signed in and sign out?"""

from __future__ import annotations

import hmac
import secrets
import time
from typing import Any

from aiohttp import web

from local import tokens
from local.realtime.bearer import claims_of
from local.realtime.serializer import Unreadable, from_json
from local.realtime.settings import User
from local.realtime.tenant import Session, Tenant
from local.tokens import TokenRefused

BORN = "2026-01-01T00:00:00Z"  # of every user: nobody looks at it, and clients want a date
VERSION = {"X-Supabase-Api-Version": "2024-01-01"}  # makes clients read `code` in errors


def routes(tenant: Tenant) -> list[web.RouteDef]:
    async def token(request: web.Request) -> web.Response:
        return await _token(tenant, request)

    async def user(request: web.Request) -> web.Response:
        return _user(tenant, request)

    async def logout(request: web.Request) -> web.Response:
        return _logout(tenant, request)

    return [
        web.post("/auth/v1/token", token),
        web.get("/auth/v1/user", user),
        web.post("/auth/v1/logout", logout),
    ]


async def _token(tenant: Tenant, request: web.Request) -> web.Response:
    try:
        body = from_json(await request.read())
    except Unreadable:
        body = None
    given = body if isinstance(body, dict) else {}
    grant = request.query.get("grant_type")
    if grant == "password":
        return _sign_in(tenant, str(given.get("email")), str(given.get("password")))
    if grant == "refresh_token":
        return _refresh(tenant, str(given.get("refresh_token")))
    return _error(400, "unsupported_grant_type", "Unsupported grant type")


def _sign_in(tenant: Tenant, email: str, password: str) -> web.Response:
    for user in tenant.settings.users:
        right = hmac.compare_digest(user.password.encode(), password.encode())
        if right and user.email == email.lower():
            return _session(tenant, Session(user, secrets.token_hex(16)))
    return _error(400, "invalid_credentials", "Invalid login credentials")


def _refresh(tenant: Tenant, refresh_token: str) -> web.Response:
    session = tenant.sessions.pop(refresh_token, None)
    if session is None:
        text = "Invalid Refresh Token: Refresh Token Not Found"
        return _error(400, "refresh_token_not_found", text)
    return _session(tenant, session)


def _session(tenant: Tenant, session: Session) -> web.Response:
    lifetime = int(tenant.settings.token_lifetime)
    now = time.time() - tenant.settings.token_age
    access_token = tokens.issue(
        tenant.jwt_secret,
        session.user.role,
        lifetime=lifetime,
        now=now,
        sub=str(session.user.id),
        aud="authenticated",
        email=session.user.email,
        session_id=session.id,
        # Two tokens of one second would be the same, and the same token is ignored on a channel.
        jti=secrets.token_hex(8),
    )
    refresh_token = secrets.token_urlsafe(12)
    tenant.sessions[refresh_token] = session
    return web.json_response(
        {
            "access_token": access_token,
            "token_type": "bearer",
            "expires_in": lifetime,
            "expires_at": int(now) + lifetime,
            "refresh_token": refresh_token,
            "user": _profile(session.user),
        },
        headers=VERSION,
    )


def _user(tenant: Tenant, request: web.Request) -> web.Response:
    try:
        claims = claims_of(tenant, request)
    except TokenRefused as refused:
        return _error(403, "bad_jwt", f"invalid JWT: {refused.message}")
    for user in tenant.settings.users:
        if str(user.id) == claims.get("sub"):
            return web.json_response(_profile(user), headers=VERSION)
    return _error(403, "user_not_found", "User from sub claim in JWT does not exist")


def _logout(tenant: Tenant, request: web.Request) -> web.Response:
    """End the user's sessions; with scope `local` the one of this token, with `others` the rest."""
    try:
        claims = claims_of(tenant, request)
    except TokenRefused as refused:
        return _error(401, "bad_jwt", f"invalid JWT: {refused.message}")
    scope = request.query.get("scope", "global")
    for token, session in list(tenant.sessions.items()):
        mine = session.id == claims.get("session_id")
        concerned = {"local": mine, "others": not mine}.get(scope, True)
        if str(session.user.id) == claims.get("sub") and concerned:
            del tenant.sessions[token]
    return web.Response(status=204, headers=VERSION)


def _profile(user: User) -> dict[str, Any]:
    return {
        "id": str(user.id),
        "aud": "authenticated",
        "role": user.role,
        "email": user.email,
        "email_confirmed_at": BORN,
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": {},
        "identities": [],
        "created_at": BORN,
        "updated_at": BORN,
        "is_anonymous": False,
    }


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status, headers=VERSION)
