"""Did a link tell every row that was written, or say of which it may have missed some?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Opened:
    """A gap of the stream began: from here on events may be missing."""

    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A gap of the stream is over: reading again from here on finds what it had."""

    reason: str


@dataclass(frozen=True, slots=True)
class Repeated:
    """The server said again what may have been missed: it may come behind later ones."""

    number: int


Told = int | Opened | Closed | Repeated


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What became of the rows. `covered` are missing, and a gap said so; all else is a mistake.

    `silent` are missing without a word, `doubled` came more than once, `late` came behind a row
    that was written after them, `invented` were never written. `unclosed` are the reasons of gaps
    that did not end.
    """

    covered: tuple[int, ...] = ()
    silent: tuple[int, ...] = ()
    doubled: tuple[int, ...] = ()
    late: tuple[int, ...] = ()
    invented: tuple[int, ...] = ()
    unclosed: tuple[str, ...] = ()

    @property
    def mistakes(self) -> dict[str, tuple[object, ...]]:
        """What nobody said, by its kind; empty for a link that kept its word."""
        kinds = ("silent", "doubled", "late", "invented", "unclosed")
        return {kind: found for kind in kinds if (found := getattr(self, kind))}


def judge(written: Sequence[int], told: Iterable[Told]) -> Verdict:
    """
    Compare what one writer committed, in the order of its commits, with what one table's
    stream told, in its order.

    No clock is needed: changes come in the order of their commits, so what is missing between two
    that came was lost between them, and a gap must have been open there.
    """
    places = {number: place for place, number in enumerate(written)}
    reader = _Reader(written)
    for one in told:
        if isinstance(one, Opened):
            reader.open.append(one.reason)
            reader.excused = True
        elif isinstance(one, Closed):
            reader.close(one.reason)
        elif isinstance(one, Repeated):
            reader.repeated(one.number)
        elif one not in places:
            reader.invented.append(one)
        else:
            reader.row(one, places[one])
    return reader.verdict()


class _Reader:
    def __init__(self, written: Sequence[int]) -> None:
        self.written = written
        self.open: list[str] = []
        self.excused = False  # a gap was open at some moment since the last row
        self.invented: list[int] = []
        self._next = 0  # the place in `written` of what should come next
        self._came: set[int] = set()
        self._covered: set[int] = set()
        self._silent: set[int] = set()
        self._doubled: list[int] = []
        self._late: list[int] = []

    def close(self, reason: str) -> None:
        if reason in self.open:
            self.open.remove(reason)
        self.excused = True

    def repeated(self, number: int) -> None:
        if number in self._came:
            self._doubled.append(number)
        self._came.add(number)

    def row(self, number: int, place: int) -> None:
        if number in self._came:
            self._doubled.append(number)
            return
        self._came.add(number)
        if place < self._next:
            self._late.append(number)
        else:
            self._miss(place)
            self._next = place + 1
        self.excused = bool(self.open)

    def _miss(self, until: int) -> None:
        missing = self.written[self._next : until]
        (self._covered if self.excused else self._silent).update(missing)

    def verdict(self) -> Verdict:
        self._miss(len(self.written))
        came = self._came
        return Verdict(
            covered=tuple(sorted(self._covered - came)),
            silent=tuple(sorted(self._silent - came)),
            doubled=tuple(self._doubled),
            late=tuple(self._late),
            invented=tuple(self.invented),
            unclosed=tuple(self.open),
        )
