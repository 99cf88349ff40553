"""Is a connection string understood as it was pasted?"""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from worker.db.url import parse

NEON = (
    "postgresql://neondb_owner:npg_s3cret@ep-cool-rain-a1b2c3d4-pooler.eu-central-1.aws.neon.tech"
    "/neondb?sslmode=require&channel_binding=require&connect_timeout=10"
)


def test_neon_works_as_pasted() -> None:
    address = parse(NEON)

    assert address.hosts == ("ep-cool-rain-a1b2c3d4-pooler.eu-central-1.aws.neon.tech",)
    assert (address.ports, address.user, address.database) == ((5432,), "neondb_owner", "neondb")
    assert address.password == "npg_s3cret"
    assert address.connect_timeout == 10.0
    assert address.pooled


def test_channel_binding_is_not_passed_on_to_the_server() -> None:
    arguments = parse(NEON).arguments()

    assert arguments["server_settings"] is None
    assert "channel_binding" not in arguments
    assert arguments["statement_cache_size"] == 0


def test_options_reach_the_server() -> None:
    address = parse("postgres://u@h/d?options=-c%20work_mem%3D8MB&application_name=me")

    assert address.arguments()["server_settings"] == {
        "options": "-c work_mem=8MB",
        "application_name": "me",
    }


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("p%40ss", "p@ss"),
        ("p@ss", "p@ss"),
        ("p@ss/w#rd?x", "p@ss/w#rd?x"),
        ("a:b:c", "a:b:c"),
        ("100%", "100%"),
        ("a+b c", "a+b c"),
        ("[x]", "[x]"),
        ("ünï", "ünï"),
        ("q?a=b", "q?a=b"),
    ],
)
def test_a_password_may_have_any_character(written: str, meant: str) -> None:
    address = parse(f"postgresql://me:{written}@db.example.com:6000/shop?sslmode=require")

    assert address.password == meant
    assert (address.user, address.hosts, address.ports) == ("me", ("db.example.com",), (6000,))
    assert address.database == "shop"


def test_an_at_sign_in_a_parameter_is_not_the_end_of_the_password() -> None:
    address = parse("postgresql://me:secret@db/shop?application_name=me@home")

    assert (address.password, address.hosts) == ("secret", ("db",))
    assert address.server_settings == {"application_name": "me@home"}


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("postgres://u@localhost/d", ("localhost",), (5432,)),
        ("postgres:///d", ("localhost",), (5432,)),
        ("postgres://u@[::1]:5433/d", ("::1",), (5433,)),
        ("postgres://u@a:1,b:2/d", ("a", "b"), (1, 2)),
        ("postgres:///d?host=/run/postgresql&port=5433", ("/run/postgresql",), (5433,)),
        ("'postgres://u@quoted/d'\n", ("quoted",), (5432,)),
    ],
)
def test_hosts_and_ports(url: str, hosts: tuple[str, ...], ports: tuple[int, ...]) -> None:
    address = parse(url)

    assert (address.hosts, address.ports, address.database) == (hosts, ports, "d")


@pytest.mark.parametrize("mode", ["", "?sslmode=require", "?sslmode=verify-full"])
def test_certificates_are_verified_unless_said_otherwise(mode: str) -> None:
    context = parse(f"postgres://u:p@db.example.com/d{mode}").arguments()["ssl"]

    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_going_without_verification_has_to_be_said() -> None:
    context = parse("postgres://u:p@db.example.com/d?sslmode=no-verify").arguments()["ssl"]

    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_NONE
    assert parse("postgres://u:p@db.example.com/d?sslmode=disable").arguments()["ssl"] is False


def test_a_database_of_this_machine_may_be_without_tls() -> None:
    assert parse("postgres://u:p@127.0.0.1:5/d").arguments()["ssl"] == "prefer"


@pytest.mark.parametrize("url", ["postgres://u@h:6543/d", "postgres://u@h/d?pgbouncer=true"])
def test_a_transaction_pooler_gets_no_named_statements(url: str) -> None:
    assert parse(url).arguments()["statement_cache_size"] == 0


@pytest.mark.parametrize(
    ("url", "mistake"),
    [
        ("mysql://me:hunter2@h/d", "not a postgres URL"),
        ("hunter2", "not a postgres URL"),
        ("postgres://me:hunter2@h:port/d", "the port is not a number"),
        ("postgres://me:hunter2@h:99999/d", "the port is not a number"),
        ("postgres://me:hunter2@h/d?sslmode=off", "sslmode has to be one of disable"),
        ("postgres://me:hunter2@h/d?channel_binding=yes", "channel_binding has to be one of"),
        ("postgres://me:hunter2@h/d?connect_timeout=soon", "connect_timeout is not a number"),
        ("postgres://me:hunter2@h/d?sslrootcert=/nowhere", "sslrootcert names no file"),
        ("postgres://me:hunter2@h/d?colour=blue", "unknown parameter colour"),
        ("postgres://me:hunter2@a,b/d?port=1,2,3", "as many ports as hosts"),
        (f"postgres://me:hunter2@{'h' * 64}/d", "longer than 63"),
        ("postgres://me:hunter2@h h/d", "no host and database"),
    ],
)
def test_a_mistake_is_named_without_the_secret(url: str, mistake: str) -> None:
    with pytest.raises(ValueError, match=mistake) as caught:
        parse(url)

    assert "hunter2" not in str(caught.value)


def test_an_address_shows_no_password(tmp_path: Path) -> None:
    assert repr(parse("postgres://me:hunter2@h:1/d")) == "h:1/d"
