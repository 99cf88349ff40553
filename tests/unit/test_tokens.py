"""Is a token accepted or refused in the words of the real server?"""

from __future__ import annotations

import jwt
import pytest

from local.tokens import TokenRefused, issue, read

SECRET = "a-secret-of-the-tests-that-is-32-bytes-long"
NOW = 1_800_000_000.0


def refusal(token: str) -> tuple[str, str]:
    with pytest.raises(TokenRefused) as refused:
        read(token, SECRET, now=NOW)
    return refused.value.code, refused.value.message


def test_a_token_says_what_was_put_into_it() -> None:
    token = issue(SECRET, "authenticated", lifetime=60, now=NOW, sub="1", nbf=NOW + 1000)

    claims = read(token, SECRET, now=NOW + 59)

    assert (claims["role"], claims["sub"], claims["exp"]) == ("authenticated", "1", NOW + 60)


def test_an_expired_token_says_since_when() -> None:
    token = issue(SECRET, "anon", lifetime=60, now=NOW - 100)

    with pytest.raises(TokenRefused) as refused:
        read(token, SECRET, now=NOW)

    assert refused.value.message == "Token has expired 40 seconds ago"
    assert refused.value.brief == "Token has expired"


def test_a_token_of_this_very_second_is_over() -> None:
    assert refusal(issue(SECRET, "anon", lifetime=0, now=NOW))[1] == (
        "Token has expired 0 seconds ago"
    )


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "sb_secret_unknown"])
def test_what_is_no_token_is_malformed(token: str) -> None:
    assert refusal(token) == ("MalformedJWT", "The token provided is not a valid JWT")


@pytest.mark.parametrize(
    "claims",
    [{"role": "anon"}, {"exp": NOW + 9}, {"role": "a", "exp": "x"}, {"role": "a", "exp": True}],
)
def test_role_and_exp_are_required(claims: dict[str, object]) -> None:
    token = jwt.encode(claims, SECRET, algorithm="HS256")

    assert refusal(token) == ("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")


@pytest.mark.parametrize("issued", ["1700000000", None, True, [], {}])
def test_a_time_of_issue_that_is_no_number_is_refused(issued: object) -> None:
    token = issue(SECRET, "anon", now=NOW, iat=issued)

    assert refusal(token) == ("MalformedJWT", "The token provided is not a valid JWT")


@pytest.mark.parametrize("issued", [{}, {"iat": NOW + 99.5}])
def test_a_token_needs_no_time_of_issue_and_any_number_will_do(issued: dict[str, float]) -> None:
    claims = {"role": "anon", "exp": NOW + 9, **issued}

    assert read(jwt.encode(claims, SECRET, algorithm="HS256"), SECRET, now=NOW) == claims


def test_a_foreign_signature_is_refused() -> None:
    token = issue(SECRET + "another", "service_role", now=NOW)

    assert refusal(token) == ("JwtSignatureError", "Failed to validate JWT signature")


def test_an_unsigned_token_is_refused() -> None:
    token = jwt.encode({"role": "service_role", "exp": NOW + 9}, "", algorithm="none")

    assert refusal(token)[0] == "JwtSignerError"


def test_a_key_that_is_not_known_is_named() -> None:
    headers = {"kid": "other"}
    token = jwt.encode({"role": "anon", "exp": NOW + 9}, "", algorithm="none", headers=headers)

    assert 'for key ID (kid) "other", check your JWT secret' in refusal(token)[1]
