"""What can be set, and is it right?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .errors import ConfigError

ALWAYS_HIDDEN = "password_hash"
SINKS = ("log", "broadcast")
DAY_MS = 24 * 3600 * 1000  # a clock that overflows is no clock

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "pretty", "json"]


def _listed(value: Any) -> Any:
    """`a, b` as the environment has it, to ("a", "b")."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
Ways = Annotated[tuple[Literal["changes", "broadcast"], ...], NoDecode, BeforeValidator(_listed)]


class Settings(BaseSettings):
    """
    Everything that can be set. A field's name upper-cased is its name in the environment.

    The description of a field is the comment it has in `.env.example`.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",  # .env and the environment hold other programs' settings too
        frozen=True,
        hide_input_in_errors=True,
    )

    database_url: SecretStr | None = Field(
        None, description="the Postgres that the worker writes to: postgresql://…"
    )
    supabase_url: str | None = Field(None, description="https://<project>.supabase.co")
    supabase_key: SecretStr | None = Field(
        None, description="the service role key, or sb_secret_…; with a user a public one will do"
    )
    supabase_user_email: str | None = Field(
        None, description="the user to sign in as, with the password; unset: joins carry the key"
    )
    supabase_user_password: SecretStr | None = Field(None, description="that user's password")
    handlers: str = Field("handlers", description="the package whose modules are the handlers")
    records: str = Field("records", description="the package whose modules are the tables' own")
    migrations: Path | None = Field(
        None, description="folder of SQL files; default: that of the installed project"
    )
    hidden_columns: Names = Field(
        (ALWAYS_HIDDEN,),
        description="columns that reach no handler, log or recording; password_hash never does",
    )
    sinks: Names = Field(SINKS, description="where notifications go: log, broadcast")

    db_pool_size: int = Field(10, ge=2, le=1000, description="connections at most")
    db_connection_timeout: int = Field(
        10_000, ge=1, le=DAY_MS, description="milliseconds to wait for a connection"
    )
    db_idle_timeout: int = Field(
        30_000, ge=1, le=DAY_MS, description="milliseconds after which an idle connection is closed"
    )
    db_query_timeout: int = Field(
        30_000,
        ge=1,
        le=DAY_MS,
        description="milliseconds without an answer after which a server hangs",
    )
    db_max_retries: int = Field(
        3, ge=1, description="attempts at a transaction that met a deadlock"
    )

    inbox_size: int = Field(
        10_000, ge=1, description="events read and not yet handled before reading waits"
    )
    batch_size: int = Field(500, ge=1, description="events in one transaction at most")
    heartbeat_seconds: float = Field(
        25.0, gt=0, le=55, description="between heartbeats; Realtime hangs up after 60"
    )
    canary_seconds: float = Field(
        30.0, ge=0, le=3600, description="between beats that have to come back; 0: there are none"
    )
    canary_patience_seconds: float = Field(
        20.0, gt=0, le=3600, description="for a beat to come back before another one is tried"
    )
    canaries: Ways = Field(
        ("changes", "broadcast"), description="which ways are watched: changes, broadcast"
    )
    drain_seconds: float = Field(
        8.0, gt=0, le=3600, description="for finishing after SIGTERM; most platforms kill after 10"
    )

    host: str = Field("0.0.0.0", description="address the pages are served on, if PORT is set")
    port: int | None = Field(
        None, ge=0, le=65535, description="port of /live, /ready and /metrics; unset: no pages"
    )
    log_level: LogLevel = Field("info", description="debug, info, warning or error")
    log_format: LogFormat = Field("auto", description="pretty, json, or auto: pretty on a terminal")

    def secret(self, name: str) -> str:
        """The text of a field that the command needs, be it secret or not."""
        value = _plain(getattr(self, name))
        assert isinstance(value, str)  # `read` was told that it is needed
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _trimmed(cls, value: Any) -> Any:
        return value.strip() if isinstance(value, str) else value

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("supabase_url")
    @classmethod
    def _is_web_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            well_formed = parts.scheme in ("http", "https") and bool(parts.hostname)
            well_formed = well_formed and parts.port != 0 and parts.username is None
            (parts.hostname or "").encode("idna")  # as who looks it up will do
        except ValueError:
            well_formed = False
        if not well_formed:
            raise ValueError("not a URL like https://<project>.supabase.co")
        return value.rstrip("/")

    @field_validator("supabase_key", "supabase_user_password", "database_url")
    @classmethod
    def _has_no_gaps(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and re.search(r"[\r\n\0]", value.get_secret_value()):
            raise ValueError("it has a line break in it")
        return value

    @field_validator("handlers", "records")
    @classmethod
    def _is_package_name(cls, value: str) -> str:
        if not all(part.isidentifier() for part in value.split(".")):
            raise ValueError("not the name of a package")
        return value

    @field_validator("migrations")
    @classmethod
    def _is_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError("no such folder")
        return value

    @field_validator("hidden_columns")
    @classmethod
    def _hides_at_least(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return value if ALWAYS_HIDDEN in value else (*value, ALWAYS_HIDDEN)

    @field_validator("sinks")
    @classmethod
    def _are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(name.isidentifier() for name in value):
            raise ValueError("not a list of names like log,broadcast")
        return value


Check = Callable[[Any], object]  # raises ValueError or ConfigError that says what is wrong


def read(*needed: str, checks: Mapping[str, Check] | None = None, **given: Any) -> Settings:
    """
    Read the environment, then `.env`. `needed` are the fields that this command cannot do without.

    `checks` are what other parts know about a field's value; `given` wins over the environment.
    Raises ConfigError naming every setting that is wrong, not just the first.
    """
    try:
        settings, mistakes = _read(given)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f".env cannot be read: {type(error).__name__}") from error
    for name in needed:
        if name not in mistakes and not _plain(getattr(settings, name)):
            mistakes[name] = f"{name.upper()} is not set"
    if lacking := _half_a_user(settings, mistakes):
        mistakes[lacking] = f"{lacking.upper()} is not set: a user has an e-mail and a password"
    for name, check in (checks or {}).items():
        value = _plain(getattr(settings, name))
        if name not in mistakes and value:
            try:
                check(value)
            except ValueError as error:
                mistakes[name] = f"{name.upper()}: {error}"
            except ConfigError as error:  # it names the setting itself
                mistakes[name] = str(error)
    if mistakes:
        raise ConfigError(*(mistakes[name] for name in Settings.model_fields if name in mistakes))
    return settings


def _read(given: Mapping[str, Any]) -> tuple[Settings, dict[str, str]]:
    """Read, with the default in place of what is wrong, and what is wrong by field."""
    try:
        return Settings(**given), {}
    except ValidationError as error:
        mistakes = {str(fault["loc"][0]): _mistake(fault) for fault in error.errors()}
        defaults = {name: Settings.model_fields[name].default for name in mistakes}
        return Settings(**{**given, **defaults}), mistakes


def _half_a_user(settings: Settings, mistakes: Mapping[str, str]) -> str | None:
    """Return the field that is missing where only the other one is set."""
    names = ("supabase_user_email", "supabase_user_password")
    lacking = [name for name in names if not _plain(getattr(settings, name))]
    return lacking[0] if len(lacking) == 1 and not mistakes.keys() & set(names) else None


def _mistake(fault: ErrorDetails) -> str:
    said = fault["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
    return f"{str(fault['loc'][0]).upper()}: {said}"


def _plain(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def example() -> str:
    """What `.env.example` has to say: each field with its meaning and its default."""
    lines = ["# Copy to .env; the environment wins over it. A line left out has its default."]
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = ",".join(default) if isinstance(default, tuple) else default
        lines += ["", f"# {field.description}", f"{name.upper()}={'' if shown is None else shown}"]
    return "\n".join(lines) + "\n"
