"""What can be asked of the local stack on the command line?"""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from local.postgres import PostgresError
from local.simulate import traffic
from worker.errors import CommandFailed

if TYPE_CHECKING:
    from local.fault import Asked
    from local.realtime.settings import Settings

# Plain errors: boxes are wrapped at 80 columns and cannot be searched for.
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

Data = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="Keep the data in this directory; without it they go."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON object on one line instead of text.")
]


Broken = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[=VALUE]", help="Break this from the start; `fault` lists what there is."
    ),
]

Tuned = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Waits and limits of Realtime, as join_error_delay=0.5, limits=real, limits.events=10;"
        " a wrong name lists all.",
    ),
]


@app.callback()
def main() -> None:
    """PostgreSQL and Supabase Realtime on this machine, and traffic for them."""
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal that has no `…` gets a `?`
        sys.stdout.reconfigure(errors="replace")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
            if sys.stderr.isatty()
            else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@app.command()
def up(
    data: Data = None, as_json: AsJson = False, fault: Broken = None, tune: Tuned = None
) -> None:
    """Start both, print where they are, run until told to stop (SIGINT, SIGTERM)."""
    faults = _asked("--fault", fault or [])
    settings = _tuned(tune or [])
    try:
        asyncio.run(_up(data, as_json, faults, settings))
    except (PostgresError, OSError) as error:
        typer.echo(f"tidemark: {error}", err=True)
        raise typer.Exit(1) from None


async def _up(
    data: Path | None, as_json: bool, faults: Sequence[Asked], settings: Settings
) -> None:
    from local.stack import running  # it brings a web server, which `simulate` does not need

    stopping = stop_on_signal()
    async with running(data, settings) as stack:
        for name, value in faults:
            stack.server.faults.throw(name, value)
        # The superuser's: whoever asked for a database of their own may set up anything in it.
        env = stack.env | {"DATABASE_URL": stack.admin_url}
        if as_json:
            print(json.dumps(env), flush=True)
        else:
            for name, value in env.items():
                print(f"export {name}={shlex.quote(value)}", flush=True)
        await stack.until(stopping)


@app.command()
def run(
    seconds: Annotated[
        float | None,
        typer.Option(
            "--for", min=0.1, help="Seconds from the first handled event; else until Ctrl-C."
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="Committed changes a second.")] = 20.0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same plan.")] = 1,
    data: Annotated[Path, typer.Option(file_okay=False, help="Where the data stay.")] = Path(
        ".tidemark"
    ),
) -> None:
    """Show all of it at work: PostgreSQL, Realtime, the worker and traffic."""
    from local.demo import DemoFailed, demonstrate

    # The screen says how it goes; the log has what went wrong.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    try:
        status = asyncio.run(demonstrate(data, seconds, rate, seed))
    except (PostgresError, DemoFailed, OSError) as error:
        typer.echo(f"tidemark: {error}", err=True)
        status = 1
    raise typer.Exit(status)


@app.command()
def simulate(
    rate: Annotated[float, typer.Option(min=0.1, help="Committed changes a second.")] = 20.0,
    seconds: Annotated[float, typer.Option("--for", min=0.1, help="Seconds.")] = 30.0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same plan.")] = 1,
    database_url: Annotated[
        str, typer.Option(envvar="DATABASE_URL", show_envvar=True, help="Where to write.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Make RE Engine traffic: leads, assignments, approvals, messages, agents; some rolled back."""
    if not database_url:
        raise typer.BadParameter("set DATABASE_URL or give --database-url")
    try:
        summary = asyncio.run(_simulate(database_url, rate, seconds, seed))
    except ValueError as error:
        raise typer.BadParameter(f"--database-url: {error}") from None
    except CommandFailed as error:
        typer.echo(f"tidemark: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(json.dumps(summary.as_dict()) if as_json else str(summary))


async def _simulate(database_url: str, rate: float, seconds: float, seed: int) -> traffic.Summary:
    stopping = stop_on_signal()
    return await traffic.simulate(
        database_url, rate=rate, seconds=seconds, seed=seed, stopping=stopping
    )


@app.command()
def fault(
    throw: Annotated[
        list[str] | None, typer.Argument(metavar="NAME[=VALUE]", help="Break this.")
    ] = None,
    off: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Mend this.")] = None,
    url: Annotated[
        str, typer.Option(envvar="SUPABASE_URL", show_envvar=True, help="The local server.")
    ] = "",
    key: Annotated[
        str, typer.Option(envvar="SUPABASE_KEY", show_envvar=True, help="Of the service role.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Break and mend what `up` runs; say what is broken, and what can be."""
    from local import fault as faults

    asked = _asked("NAME", throw or [])
    _asked("--off", off or [])
    if not (url and key):
        raise typer.BadParameter("set SUPABASE_URL and SUPABASE_KEY, as `up` prints them")
    try:
        with faults.reaching(url, key) as server:
            done = [faults.throw(server, one) for one in asked]
            done += [faults.take_back(server, name) for name in off or []]
            shown = done or faults.listed(server)
    except CommandFailed as error:
        typer.echo(f"tidemark: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(json.dumps({"faults": shown}) if as_json else "\n".join(faults.lines(shown)))


def _asked(where: str, arguments: Sequence[str]) -> list[Asked]:
    if not arguments:
        return []
    from local.fault import asked  # it brings a web server and a client

    try:
        return asked(arguments)
    except ValueError as error:
        raise typer.BadParameter(f"{where}: {error}") from None


def _tuned(arguments: Sequence[str]) -> Settings:
    from local.realtime.tuned import tuned

    try:
        return tuned(arguments)
    except ValueError as error:
        raise typer.BadParameter(f"--set: {error}") from None


def stop_on_signal() -> asyncio.Event:
    """An event that is set when we are asked to stop; a second request ends us at once."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop() -> None:
        stopping.set()
        for number in asked:
            loop.remove_signal_handler(number)

    for number in asked:
        loop.add_signal_handler(number, stop)
    return stopping


if __name__ == "__main__":
    app()
