"""How does the page of operations show what the worker makes of each fault?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from local.realtime.faults import Faults
from tests.faults.play import Case, Recovery

BEGIN, END = "<!-- faults: written by `make faults` -->", "<!-- faults: end -->"
HEAD = (
    "| fault | what breaks | what the worker does | what is lost | it says "
    "| idle | at 500 changes/s |\n|---|---|---|---|---|---|---|"
)
AS_ABOVE = "″"


def described(cases: Sequence[Case]) -> list[str]:
    """The columns of each case that no measurement fills; what is as above is not repeated."""
    rows = []
    above: list[str] = []
    for case in cases:
        says = ", ".join(f"`{event}`" for event in sorted(case.says)) or "nothing"
        cells = [Faults.switches()[case.switch].meaning, case.does, case.loses, says]
        shown = [
            AS_ABOVE if above[:1] == cells[:1] and above[at] == cell else cell
            for at, cell in enumerate(cells)
        ]
        above = cells
        rows.append(f"| `{case.name}` | {' | '.join(shown)} |")
    return rows


def measured(idle: Recovery, loaded: Recovery) -> str:
    """The columns that a measurement fills."""
    return f" {_figures(idle)} | {_figures(loaded)}; {loaded.lost['rows']} of 1000 rows lost |"


def _figures(recovery: Recovery) -> str:
    tries = max(recovery.attempts, recovery.steps)
    back = f"back in {recovery.seconds:.2f} s, {tries} {'try' if tries == 1 else 'tries'}"
    return f"noticed in {recovery.noticed:.2f} s, {back}" if recovery.noticed >= 0.1 else back


def written_into(page: str, rows: list[str]) -> str:
    """The page with the table between its markers. Raises ValueError where they are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN} … {END}")
    table = "\n".join((HEAD, *rows))
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def rows_of(page: str) -> list[str]:
    """The rows between the markers, without the head."""
    between = page.partition(BEGIN)[2].partition(END)[0]
    return re.findall(r"^\| `.*\|$", between, re.MULTILINE)
