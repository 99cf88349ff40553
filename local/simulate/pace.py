"""When is the next change due, with bursts and quiet that average to a rate?"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

BLOCK = 10.0  # seconds; the rate is met over each, so it is met whenever somebody stops us

# A stretch is this many times as busy as the others: mostly even, sometimes dead, sometimes mad.
BUSYNESS = (0.1, 0.5, 1.0, 1.0, 2.0, 6.0)


@dataclass(frozen=True, slots=True)
class Stretch:
    """`factor` times the rate from `start` on for `length`; both in seconds."""

    start: float
    length: float
    factor: float


def stretches(seed: int, seconds: float) -> Iterator[Stretch]:
    """Cut `seconds` into stretches; the factors of each block average to 1."""
    rng = random.Random(f"pace/{seed}")
    start = 0.0
    while start < seconds:
        block = min(BLOCK, seconds - start)
        pieces = rng.randint(4, 8)
        cuts = [0.0, *sorted(rng.uniform(0, block) for _ in range(pieces - 1)), block]
        lengths = [later - earlier for earlier, later in itertools.pairwise(cuts)]
        busy = [rng.choice(BUSYNESS) for _ in lengths]
        mean = sum(length * b for length, b in zip(lengths, busy, strict=True)) / block
        for cut, length, b in zip(cuts, lengths, busy, strict=False):
            yield Stretch(start + cut, length, b / mean)
        start += block


class Pace:
    """Tells when the n-th change of one writer is due. Ask with growing numbers."""

    def __init__(self, seed: int, rate: float, seconds: float) -> None:
        self._rate = rate
        self._stretches = stretches(seed, seconds)
        self._stretch = next(self._stretches, None)
        self._before = 0.0  # changes due before this stretch

    def due(self, changes: int) -> float | None:
        """Seconds from the start at which `changes` have been made; None: not any more."""
        while (here := self._stretch) is not None:
            rate = self._rate * here.factor
            if self._before + rate * here.length > changes:
                return here.start + (changes - self._before) / rate
            self._before += rate * here.length
            self._stretch = next(self._stretches, None)
        return None
