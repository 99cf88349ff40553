"""What does a Postgres connection string, as somebody pasted it, ask for?"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

SCHEMES = ("postgres://", "postgresql://")
# `no-verify` is node-postgres's word for what libpq calls `require`: encrypted, to anybody.
TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full", "no-verify")
CHANNEL_BINDING = ("disable", "prefer", "require")
LOOPBACK = ("localhost", "127.0.0.1", "::1")

# `docker --env-file` keeps the quotes of a line.
_PASTED_AROUND = " \t\r\n\"'"

_HOST = r"(?:\[[0-9A-Fa-f:.%]+\]|[^\s/@?#:,\[\]]*)(?::[^\s/@?#:,]*)?"
_REST = re.compile(rf"(?P<hosts>{_HOST}(?:,{_HOST})*)(?P<path>/[^/?@]*)?(?:\?(?P<query>.*))?")
_PARAMETER = re.compile(r"[a-z_]+=.*")

# What the server takes at start-up, and what is only passed on to it.
_SERVER_SETTINGS = frozenset(
    [
        "application_name",
        "options",
        "search_path",
        "timezone",
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
    ]
)
# Understood, and nothing for us to do: other drivers' own affairs.
_NOT_OURS = frozenset(
    [
        "channel_binding",
        "pgbouncer",
        "connection_limit",
        "pool_timeout",
        "schema",
        "client_encoding",
        "fallback_application_name",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
        "uselibpqcompat",
    ]
)
_OURS = frozenset(
    ["sslmode", "sslrootcert", "connect_timeout", "target_session_attrs", "host", "port", "user"]
)
_KNOWN = _SERVER_SETTINGS | _NOT_OURS | _OURS | {"password", "dbname"}


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """Where a database is and how to be let in. Its text never has the password."""

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    user: str | None
    password: str | None
    database: str | None
    tls: str  # one of TLS_MODES
    root_certificate: str | None  # a file; None: the system's
    connect_timeout: float | None  # seconds
    server_settings: dict[str, str]
    session: str | None  # target_session_attrs
    pooled: bool  # a pooler in transaction mode stands in between: no named statements

    def __repr__(self) -> str:
        places = ",".join(f"{h}:{p}" for h, p in zip(self.hosts, self.ports, strict=True))
        return f"{places}/{self.database or ''}"

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for `asyncpg.connect`. Raises OSError for a certificate file."""
        arguments: dict[str, Any] = {
            "host": list(self.hosts),
            "port": list(self.ports),
            "user": self.user,
            "password": self.password,
            "database": self.database,
            "ssl": self._tls(),
            "server_settings": self.server_settings or None,
            "target_session_attrs": self.session,
        }
        if self.pooled:
            arguments["statement_cache_size"] = 0
        return arguments

    def _tls(self) -> ssl.SSLContext | str | bool:
        """
        Say how to encrypt. Certificates are verified unless the string says not to.

        libpq's `require` encrypts to whoever answers; here it verifies, as the name promises.
        Channel binding would say the same of the server, and asyncpg does not have it.
        """
        if self.tls == "disable":
            return False
        if self.tls in ("allow", "prefer"):
            return self.tls
        context = ssl.create_default_context(cafile=self.root_certificate)
        if self.tls in ("verify-ca", "no-verify"):
            context.check_hostname = False
        if self.tls == "no-verify":
            context.verify_mode = ssl.CERT_NONE
        return context


def parse(url: str) -> Address:
    """
    Take a connection string apart.

    Raises ValueError whose message holds nothing that may be secret. A password may have its
    special characters percent-encoded or not: the user part ends at the first `@` after which
    a well-formed `host:port/database?name=value` follows.
    """
    user, password, rest = _user_part(url.strip(_PASTED_AROUND))
    query = _query(rest["query"])
    hosts, ports = _hosts(query.get("host") or rest["hosts"], query.get("port"))
    return Address(
        hosts=hosts,
        ports=ports,
        user=query.get("user") or user,
        password=query.get("password") or password,
        database=query.get("dbname") or unquote((rest["path"] or "")[1:]) or None,
        tls=_tls_mode(query, hosts),
        root_certificate=_root_certificate(query),
        connect_timeout=_seconds(query.get("connect_timeout")),
        server_settings={name: query[name] for name in sorted(_SERVER_SETTINGS & query.keys())},
        session=query.get("target_session_attrs"),
        pooled=_pooled(query, hosts, ports),
    )


def _user_part(url: str) -> tuple[str | None, str | None, re.Match[str]]:
    scheme = next((scheme for scheme in SCHEMES if url.startswith(scheme)), None)
    if scheme is None:
        raise ValueError("not a postgres URL: it has to begin with postgresql:// or postgres://")
    after = url[len(scheme) :]
    for at in (*(i for i, letter in enumerate(after) if letter == "@"), -1):
        rest = _REST.fullmatch(after, at + 1)
        if rest is None or not _is_query(rest["query"]):
            continue
        user, _, password = after[: max(at, 0)].partition(":")
        return unquote(user) or None, unquote(password) or None, rest
    raise ValueError("not a postgres URL: no host and database can be made out in it")


def _is_query(query: str | None) -> bool:
    return not query or all(_PARAMETER.fullmatch(part) for part in query.split("&") if part)


def _query(text: str | None) -> dict[str, str]:
    query = dict(parse_qsl(text or "", keep_blank_values=True))
    unknown = sorted(query.keys() - _KNOWN)
    if unknown:
        raise ValueError(f"unknown parameter {', '.join(unknown)}")
    if query.get("channel_binding", "prefer") not in CHANNEL_BINDING:
        raise ValueError(f"channel_binding has to be one of {', '.join(CHANNEL_BINDING)}")
    return query


def _hosts(text: str, ports: str | None) -> tuple[tuple[str, ...], tuple[int, ...]]:
    hosts, found = [], []
    for place in text.split(","):
        # A socket's folder and an IPv6 address hold colons or slashes of their own.
        if place.startswith(("/", "[")):
            host, _, port = place.partition("]:") if "]:" in place else (place, "", "")
        else:
            host, _, port = place.partition(":")
        hosts.append(_host(unquote(host.strip("[]"))))
        found.append(_port(port))
    if ports is not None:
        given = [_port(port) for port in ports.split(",")]
        found = given * len(hosts) if len(given) == 1 else given
    if len(found) != len(hosts):
        raise ValueError("as many ports as hosts have to be given")
    return tuple(hosts), tuple(found)


def _host(text: str) -> str:
    if any(len(label) > 63 for label in text.split(".")) and not text.startswith("/"):
        raise ValueError("a part of the host's name is longer than 63 characters")
    return text or "localhost"


def _port(text: str) -> int:
    if not text:
        return 5432
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError("the port is not a number from 1 to 65535")
    return int(text)


def _seconds(text: str | None) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError("connect_timeout is not a number of seconds") from None
    return seconds if seconds > 0 else None  # 0 and less: none, as libpq has it


def _tls_mode(query: dict[str, str], hosts: tuple[str, ...]) -> str:
    here = all(host in LOOPBACK or host.startswith("/") for host in hosts)
    mode = query.get("sslmode") or ("prefer" if here else "verify-full")
    if mode not in TLS_MODES:
        raise ValueError(f"sslmode has to be one of {', '.join(TLS_MODES)}")
    return mode


def _root_certificate(query: dict[str, str]) -> str | None:
    file = query.get("sslrootcert")
    if not file or file == "system":
        return None
    if not Path(file).is_file():
        raise ValueError("sslrootcert names no file")
    return file


def _pooled(query: dict[str, str], hosts: tuple[str, ...], ports: tuple[int, ...]) -> bool:
    # Supabase's transaction pooler listens on 6543; Neon's shows in the host's name.
    return (
        query.get("pgbouncer") == "true"
        or 6543 in ports
        or any("-pooler." in host for host in hosts)
    )
