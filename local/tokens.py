"""Who does a token say somebody is, and until when?"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import jwt

ALGORITHMS = ("HS256", "HS384", "HS512")
Claims = Mapping[str, Any]


class TokenRefused(Exception):
    """
    A token that is not accepted.

    `code` and `message` make the text of a refused join, as the real server words it. An expired
    one is `Token has expired` in a handshake, which does not say since when: see `brief`.
    """

    def __init__(self, code: str, message: str, brief: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.brief = brief or message


def issue(
    secret: str, role: str, *, lifetime: float = 3600.0, now: float | None = None, **claims: Any
) -> str:
    """Return an HS256 token for `role` that expires `lifetime` seconds after `now` (Unix time)."""
    issued = int(time.time() if now is None else now)
    body = {"role": role, "iat": issued, "exp": issued + int(lifetime), "iss": "supabase"}
    return jwt.encode({**body, **claims}, secret, algorithm="HS256")


def read(token: str, secret: str, *, now: float | None = None) -> Claims:
    """
    Return the claims of a token that is signed, has `role` and `exp`, and is not over yet.

    `iat` may be left out but is a number (protocol page, 1.1); with which words another one is
    refused is not written there.
    """
    claims = _signed(token, secret)
    if not _is_number(claims.get("iat", 0)):
        raise TokenRefused("MalformedJWT", "The token provided is not a valid JWT")
    if not isinstance(claims.get("role"), str) or not _is_number(claims.get("exp")):
        raise TokenRefused("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")
    late = int(time.time() if now is None else now) - int(claims["exp"])
    if late >= 0:
        text = f"Token has expired {late} seconds ago"
        raise TokenRefused("InvalidJWTToken", text, brief="Token has expired")
    return claims


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _signed(token: str, secret: str) -> dict[str, Any]:
    """The order of the checks is the real one: form, algorithm, signature."""
    try:
        header = jwt.get_unverified_header(token)
        unsigned = jwt.decode(token, options={"verify_signature": False} | _NOTHING)
    except jwt.PyJWTError:
        raise TokenRefused("MalformedJWT", "The token provided is not a valid JWT") from None
    if header.get("alg") not in ALGORITHMS:
        kid = f' for key ID (kid) "{header["kid"]}"' if "kid" in header else ""
        text = f"Failed to generate JWT signer{kid}, check your JWT secret or JWKS configuration"
        raise TokenRefused("JwtSignerError", text)
    try:
        jwt.decode(token, secret, algorithms=list(ALGORITHMS), options=_NOTHING)
    except jwt.PyJWTError:
        raise TokenRefused("JwtSignatureError", "Failed to validate JWT signature") from None
    return unsigned


# PyJWT would check these by rules and with words of its own.
_NOTHING: Any = {
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
    "enforce_minimum_key_length": False,
}
