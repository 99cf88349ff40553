"""What can be asked of the worker on the command line?"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ..errors import CommandFailed, ConfigError, DatabaseAway, Status
from . import durations

# What a command needs is imported when it is run: `--help` is to be quick, and `migrate` is to
# work where the handlers do not.
if TYPE_CHECKING:
    from ..routing import Routes
    from ..settings import Check, Settings

cli = typer.Typer(
    name="python -m worker",
    help="Tidemark: a realtime sync worker that loses nothing and never stops silently.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they show the values of local variables
    rich_markup_mode="rich",
    epilog="Exit status: "
    + "; ".join(f"{status.value} {status.meaning}" for status in Status)
    + "; 128+n on the second signal n.",
)


def _duration(text: str) -> float:
    try:
        return durations.seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@cli.command()
def run() -> None:
    """Run the worker until it is told to stop (SIGTERM, Ctrl-C)."""
    _stop_at_once_when_asked()
    from ..app import assemble, run, run_to_the_end
    from ..outbox import find

    settings = _settings("database_url", "supabase_url", "supabase_key", checks={"sinks": find})
    routes = _routes(settings)
    parts = assemble(settings, routes)
    run_to_the_end(lambda stop: run(parts, stop), seconds=settings.drain_seconds)


@cli.command()
def migrate() -> None:
    """Apply the migrations that the database has not seen yet."""
    settings = _settings("database_url")
    from ..db.migrate import migrate

    applied = asyncio.run(migrate(settings.secret("database_url"), settings.migrations))
    for name in applied:
        print(f"applied {name}")
    print(f"{len(applied)} applied" if applied else "nothing to apply")


@cli.command()
def routes() -> None:
    """List which handler wants which events."""
    settings = _settings()
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table("event", "when", "handler", "asked of Realtime", box=SIMPLE_HEAD)
    for route in _routes(settings).all:
        said = route.describe()
        table.add_row(said.event, said.when, said.handler, said.filter)
    # Into a pipe or a file nothing is cut off.
    width = None if sys.stdout.isatty() else 200
    Console(width=width, soft_wrap=width is not None).print(table)


@cli.command()
def record(
    out: Annotated[Path, typer.Option(help="The file to write; it must not exist.")],
    seconds: Annotated[
        float | None,
        typer.Option(
            "--for",
            parser=_duration,
            metavar="DURATION",
            help="How long to listen: 30s, 1m, 2h. Without it: until told to stop.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the frames that the handlers' channels receive to a file. No handler runs."""
    _stop_at_once_when_asked()
    from ..app import record_until, run_to_the_end

    settings = _settings("supabase_url", "supabase_key")
    subscriptions = _routes(settings).wanted()
    run_to_the_end(
        lambda stop: record_until(stop, settings, subscriptions, out=out, seconds=seconds),
        seconds=settings.drain_seconds,
    )


@cli.command()
def replay(
    recording: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `record` wrote.")],
    expect: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What `replay` printed before; print the differences and exit 1."
        ),
    ] = None,
) -> None:
    """Send a recording down the path of live frames and print the effects; none is applied."""
    from ..cache import find
    from ..replay.replay import replay

    settings = _settings()
    routes = _routes(settings)
    if isinstance(sys.stdout, TextIOWrapper):  # as `--expect` reads it, whatever the locale
        sys.stdout.reconfigure(encoding="utf-8")
    status = asyncio.run(
        replay(
            recording,
            routes=routes,
            caches=find(settings.handlers, settings.records),
            hidden_columns=frozenset(settings.hidden_columns),
            write=print,
            expected=expect,
        )
    )
    raise typer.Exit(status)


def _stop_at_once_when_asked() -> None:
    """Until something runs there is nothing to finish: being told to stop is a clean end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: os._exit(Status.CLEAN))


def _settings(*needed: str, checks: Mapping[str, Check] | None = None) -> Settings:
    """Read the settings, begin to log. Raises ConfigError."""
    from .. import log, settings
    from ..db.url import parse

    read = settings.read(*needed, checks={"database_url": parse, **(checks or {})})
    log.configure(read.log_level, read.log_format)
    return read


def _routes(settings: Settings) -> Routes:
    """Import the handlers. Raises ConfigError naming each module that does not import."""
    from ..routing import load

    # Handlers stand in the folder one is in, also where the command is not `python -m`.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    return load(settings.handlers)


def main() -> NoReturn:
    """Run the command asked for and leave with a Status."""
    try:
        cli()
    except ConfigError as error:
        _complain(*error.mistakes)
        sys.exit(Status.CONFIGURATION)
    except CommandFailed as error:
        _complain(str(error))
        sys.exit(Status.FAILED)
    except BrokenPipeError:  # whoever read our output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Status.FAILED)
    except DatabaseAway as error:
        _complain(f"the database is away: {error}")
        sys.exit(Status.FAILED)
    sys.exit(Status.CLEAN)


def _complain(*lines: str) -> None:
    from ..log import without_secrets  # the error of a handler's module may hold one

    for line in lines:
        print(f"tidemark: {without_secrets(line)}", file=sys.stderr)
