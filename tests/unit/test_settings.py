"""Is every setting read from where it may stand, and every mistake named?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from worker import settings
from worker.db import url
from worker.errors import ConfigError
from worker.settings import Settings

COMPLETE = {
    "DATABASE_URL": "postgresql://me:hunter2@db/shop",
    "SUPABASE_URL": "https://x.supabase.co",
    "SUPABASE_KEY": "sb_secret_hunter2",
}
NEEDED = ("database_url", "supabase_url", "supabase_key")


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The process's own, emptied of our names, in a folder without `.env`; put back at the end."""
    before, folder = dict(os.environ), Path.cwd()
    for name in Settings.model_fields:
        os.environ.pop(name.upper(), None)
    os.chdir(tmp_path)
    yield os.environ  # type: ignore[misc] # environ is a mapping of str to str
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(before)


def mistakes(*needed: str, **given: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        settings.read(*needed, checks={"database_url": url.parse}, **given)
    return caught.value.mistakes


def test_the_environment_is_read(environment: dict[str, str]) -> None:
    environment.update(COMPLETE, DB_POOL_SIZE="7", SINKS=" log , broadcast,", LOG_LEVEL="INFO")

    read = settings.read(*NEEDED)

    assert read.database_url is not None
    assert read.database_url.get_secret_value() == COMPLETE["DATABASE_URL"]
    assert (read.db_pool_size, read.sinks, read.log_level) == (7, ("log", "broadcast"), "info")


def test_the_environment_wins_over_the_file(environment: dict[str, str]) -> None:
    Path(".env").write_text("HANDLERS=from_file\nDB_POOL_SIZE=3\nSOMEBODY_ELSES=1\n")
    environment["HANDLERS"] = "from_environment"

    read = settings.read()

    assert (read.handlers, read.db_pool_size) == ("from_environment", 3)


def test_every_mistake_is_named_at_once(environment: dict[str, str]) -> None:
    environment.update(
        DATABASE_URL="mysql://me:hunter2@h/d",
        SUPABASE_URL="hunter2",
        DB_POOL_SIZE="many",
        HEARTBEAT_SECONDS="61",
        LOG_FORMAT="xml",
        HANDLERS="my-handlers",
        MIGRATIONS="nowhere",
        SINKS="log;mail",
    )

    found = mistakes(*NEEDED)

    assert [line.replace(" is not set", ":").partition(":")[0] for line in found] == [
        "DATABASE_URL",
        "SUPABASE_URL",
        "SUPABASE_KEY",
        "HANDLERS",
        "MIGRATIONS",
        "SINKS",
        "DB_POOL_SIZE",
        "HEARTBEAT_SECONDS",
        "LOG_FORMAT",
    ]
    assert "SUPABASE_KEY is not set" in found
    assert not any("hunter2" in line or "\n" in line for line in found)


def test_each_command_needs_its_own_settings(environment: dict[str, str]) -> None:
    assert mistakes("database_url") == ("DATABASE_URL is not set",)
    assert mistakes(*NEEDED) == (
        "DATABASE_URL is not set",
        "SUPABASE_URL is not set",
        "SUPABASE_KEY is not set",
    )
    settings.read()


def test_an_empty_setting_is_not_set(environment: dict[str, str]) -> None:
    environment.update(COMPLETE, SUPABASE_KEY=" ", SUPABASE_URL="")

    assert mistakes(*NEEDED) == ("SUPABASE_URL is not set", "SUPABASE_KEY is not set")


@pytest.mark.parametrize(
    ("given", "lacking"),
    [
        ("SUPABASE_USER_EMAIL", "SUPABASE_USER_PASSWORD"),
        ("SUPABASE_USER_PASSWORD", "SUPABASE_USER_EMAIL"),
    ],
)
def test_half_a_user_is_a_mistake(environment: dict[str, str], given: str, lacking: str) -> None:
    environment[given] = "hunter2"

    (mistake,) = mistakes()

    assert mistake.startswith(f"{lacking} is not set")
    assert "hunter2" not in mistake


def test_a_users_password_does_not_show(environment: dict[str, str]) -> None:
    environment.update(SUPABASE_USER_EMAIL="me@example.com", SUPABASE_USER_PASSWORD="hunter2")

    read = settings.read()

    assert read.secret("supabase_user_password") == "hunter2"
    assert "hunter2" not in repr(read)


def test_a_file_that_cannot_be_read_is_a_mistake(environment: dict[str, str]) -> None:
    Path(".env").write_bytes(b"HANDLERS=\xff\xfe\n")

    assert mistakes() == (".env cannot be read: UnicodeDecodeError",)


@pytest.mark.parametrize(
    "value",
    [
        "https://a..b",
        f"https://{'a' * 64}.co",
        "http://",
        "ftp://x.supabase.co",
        "https://x:port",
        "x.supabase.co",
        "https://k@x",
    ],
)
def test_a_supabase_url_is_a_web_address(environment: dict[str, str], value: str) -> None:
    environment["SUPABASE_URL"] = value

    assert mistakes()[0].startswith("SUPABASE_URL: not a URL like https://")


@pytest.mark.parametrize("value", ["inf", "nan", "1e300", "0", "-1"])
@pytest.mark.parametrize("name", ["DRAIN_SECONDS", "HEARTBEAT_SECONDS", "DB_CONNECTION_TIMEOUT"])
def test_a_time_is_one_that_a_clock_can_wait(
    environment: dict[str, str], name: str, value: str
) -> None:
    environment[name] = value

    assert mistakes()[0].startswith(f"{name}: ")


def test_password_hashes_stay_hidden(environment: dict[str, str]) -> None:
    environment["HIDDEN_COLUMNS"] = "email,phone"

    assert settings.read().hidden_columns == ("email", "phone", "password_hash")


def test_nothing_can_be_set_later(environment: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings.read().port = 1


def test_secrets_do_not_show(environment: dict[str, str]) -> None:
    environment.update(COMPLETE)

    assert "hunter2" not in repr(settings.read())


@pytest.mark.docs
def test_the_example_lists_every_setting_with_its_meaning() -> None:
    example = Path(__file__).parents[2] / ".env.example"

    assert example.read_text(encoding="utf-8") == settings.example()


def test_the_example_is_itself_right(environment: dict[str, str]) -> None:
    Path(".env").write_text(settings.example(), encoding="utf-8")

    assert settings.read() == Settings(_env_file=None)  # type: ignore[call-arg] # pydantic-settings reads it
