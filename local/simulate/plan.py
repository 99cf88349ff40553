"""Which transactions does one writer make, and when?"""

from __future__ import annotations

import random
from collections.abc import Iterator

from local.simulate.desk import Desk
from local.simulate.pace import Pace
from local.simulate.step import Part, Step, Transaction

SHAPES = ("single", "several", "rolled back", "undone", "released", "refused")
OF_A_HUNDRED = (68, 12, 8, 4, 4, 4)


def plan(seed: int, writer: int, rate: float, seconds: float) -> Iterator[Transaction]:
    """
    Yield what writer number `writer` does in `seconds`: `rate` committed changes a second.

    The same arguments give the same plan. What is rolled back does not count.
    """
    desk = Desk(random.Random(f"writer/{seed}/{writer}"))
    pace = Pace(seed, rate, seconds)
    changes = 0
    while (at := pace.due(changes)) is not None:
        parts, commits = _shape(desk)
        transaction = Transaction(at, parts, commits)
        changes += transaction.changes
        yield transaction


def _shape(desk: Desk) -> tuple[tuple[Part, ...], bool]:
    match desk.rng.choices(SHAPES, OF_A_HUNDRED)[0]:
        case "single":
            return (Part((desk.book(desk.draw()),)),), True
        case "several":
            return (Part(_several(desk)),), True
        case "rolled back":
            return (Part(_several(desk.copied())),), False
        case "undone":
            undone = Part(_several(desk.copied()), "undone")
            return (undone, Part(_several(desk))), True
        case "released":
            return (Part(_own(desk), "released"), Part(_several(desk))), True
        case _:
            refused = desk.draw_refused()
            before = (Part((refused,), "undone"),) if refused else ()
            return (*before, Part((desk.book(desk.draw()),))), True


def _several(desk: Desk) -> tuple[Step, ...]:
    """
    Two to five steps, the last of which may be on a row that other writers touch too.

    Whoever waits for a shared row while holding another one could end up in a deadlock.
    """
    return (*_own(desk), desk.book(desk.draw()))


def _own(desk: Desk) -> tuple[Step, ...]:
    return tuple(desk.book(desk.draw(shared=False)) for _ in range(desk.rng.randint(1, 4)))
