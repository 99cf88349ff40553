"""Is a database's certificate looked at, on a real TLS connection?"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from worker.db import Database
from worker.errors import DatabaseAway

# The PostgreSQL of the wheel has no TLS; what is tested is over before Postgres is spoken.


class Door:
    """Takes TLS as Postgres does, with a certificate that no authority signed."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "server.crt"
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.port = 0
        self.secured = 0  # connections on which the client accepted the certificate
        key = _write_certificate(self.certificate)
        self.context.load_cert_chain(self.certificate, key)

    async def enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(8)  # SSLRequest
            writer.write(b"S")
            await writer.start_tls(self.context)
            await reader.readexactly(8)  # the start-up message goes over TLS
            self.secured += 1
        writer.close()


def _write_certificate(file: Path) -> Path:
    """Write a self-signed certificate for `localhost`; return the file of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file = file.with_suffix(".key")
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return key_file


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    door = Door(tmp_path)
    server = await asyncio.start_server(door.enter, "127.0.0.1", 0)
    door.port = server.sockets[0].getsockname()[1]
    yield door
    server.close()
    await server.wait_closed()


async def knock(door: Door, query: str, host: str = "localhost") -> str:
    """Try to get in; return why it did not work."""
    pool = Database(f"postgres://me:hunter2@{host}:{door.port}/d?{query}")
    with pytest.raises(DatabaseAway) as caught:
        await pool.ping(timeout=20)
    await pool.close()
    return str(caught.value)


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_an_unknown_authority_is_not_let_pass(door: Door, mode: str) -> None:
    reason = await knock(door, f"sslmode={mode}")

    assert door.secured == 0
    assert "its certificate was not accepted" in reason
    assert "sslrootcert=" in reason


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_an_authority_that_was_named_is_let_pass(door: Door, mode: str) -> None:
    await knock(door, f"sslmode={mode}&sslrootcert={door.certificate}")

    assert door.secured == 1


async def test_the_name_has_to_be_the_hosts(door: Door) -> None:
    named = f"sslrootcert={door.certificate}"

    assert "its certificate was not accepted" in await knock(
        door, f"sslmode=require&{named}", host="127.0.0.1"
    )
    assert door.secured == 0
    await knock(door, f"sslmode=verify-ca&{named}", host="127.0.0.1")
    assert door.secured == 1


async def test_no_verification_has_to_be_said(door: Door) -> None:
    await knock(door, "sslmode=no-verify")

    assert door.secured == 1
