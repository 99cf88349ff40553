"""Is the worker's link fast enough? Readers take turns; the medians of several turns are said."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

NAMES = {"bare": "websockets + orjson", "link": "worker link", "stock": "stock realtime client"}

HANGS = 300  # seconds after which a reader that still waits for a frame will wait for ever

Result = dict[str, float]


def main(
    frames: Annotated[int, typer.Option(help="changes a turn, of 1.4 KB", min=1)] = 20_000,
    turns: Annotated[int, typer.Option(help="how often each reader has its turn", min=1)] = 5,
    loop: Annotated[
        str, typer.Option(help="event loop of all readers: uvloop, asyncio")
    ] = "uvloop",
) -> None:
    """Compare three readers of the same changes from the same local server."""
    results: dict[str, list[Result]] = {name: [] for name in NAMES}
    with _feeding(frames) as url:
        for _ in range(turns):
            for name, taken in results.items():
                taken.append(_turn(name, url, frames, loop))
    report(results, frames, loop)


def report(results: dict[str, list[Result]], frames: int, loop: str) -> None:
    """Print what each reader took, and the two ratios."""
    console = Console(width=100)
    turns = len(results["link"])
    table = Table(title=f"{frames} changes of 1.4 KB, medians of {turns} turns, all on {loop}")
    for heading in ("reader", "changes/s", "µs/change", "CPU µs/change"):
        table.add_column(heading, justify="left" if heading == "reader" else "right")
    for name, taken in results.items():
        clock, cpu = (
            statistics.median(one[which] for one in taken) / frames
            for which in ("seconds", "cpu_seconds")
        )
        table.add_row(NAMES[name], f"{1 / clock:,.0f}", f"{clock * 1e6:.1f}", f"{cpu * 1e6:.1f}")
    console.print(table)
    for other, target in (("bare", 0.7), ("stock", 8)):
        by_clock, by_cpu = (ratio(results, other, which) for which in ("seconds", "cpu_seconds"))
        said = f"worker link ÷ {NAMES[other]}: {by_clock:.2f} (by CPU time {by_cpu:.2f})"
        console.print(f"{said}, wanted {target} or more", highlight=False)


def ratio(results: dict[str, list[Result]], other: str, which: str) -> float:
    """How many times as fast the link is: the median of the turns, each against its neighbour."""
    pairs = zip(results["link"], results[other], strict=True)
    return statistics.median(theirs[which] / ours[which] for ours, theirs in pairs)


def _turn(name: str, url: str, frames: int, loop: str) -> Result:
    # A process of its own: no reader pays for what another has imported or left behind.
    command = [sys.executable, "-m", "benchmarks.readers", name, url, str(frames), loop]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=HANGS).stdout
    result: Result = orjson.loads(said.splitlines()[-1])
    return result


@contextmanager
def _feeding(frames: int) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.feeder", str(frames)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as feeder:
        assert feeder.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(feeder.stdout.readline())}"
        finally:
            feeder.kill()


if __name__ == "__main__":
    typer.run(main)
