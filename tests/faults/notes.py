"""What did the link tell, say in its log and wait for, and when has enough of it happened?"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count

from structlog.typing import EventDict, WrappedLogger

from tests.faults.verdict import Closed, Opened, Repeated, Told
from worker.event import Broadcast, Change, Event, Gap

FAR_TOO_OFTEN = 1000  # attempts after which a link stays in its pause, and the case has hung
STEP = 0.02  # seconds of each pause: what is bounded is their number


class Notes:
    """
    A listener that keeps everything in the order it was told, with the log beside it.

    `told` has a stream for each table and topic. Nothing here waits by the clock: whoever waits
    gives a condition, which is looked at whenever something was noted.
    """

    def __init__(self) -> None:
        self.told: dict[str, list[Told]] = {}
        self.reasons: Counter[str] = Counter()
        self.others: Counter[str] = Counter()  # broadcasts that the writer did not send
        self.lines: list[str] = []
        self.said: list[EventDict] = []
        self.attempts = 0  # pauses of the link before it connected once more
        self.steps = 0  # waits drawn by the link and by its channels
        self.errors: Counter[str] = Counter()  # of changes that came
        self.frames: Counter[str] = Counter()  # those without an event, by their name on the wire
        self.open: Counter[tuple[str, str]] = Counter()  # gaps, by reason and table or topic
        self.noticed: float | None = None  # when the first gap of a fault was opened
        self._stirred = asyncio.Event()

    # What the link calls

    async def receive(self, event: Event, size: int) -> None:
        if isinstance(event, Gap):
            for name in (*event.tables, *event.topics):
                self.told.setdefault(name, []).append(Closed(event.reason))
                self.open[event.reason, name] -= 1
            self.open = +self.open
        elif isinstance(event, Change):
            self.told.setdefault(event.table, []).append(int(event.row["id"]))
            self.errors.update(event.errors)
        elif isinstance(event, Broadcast) and event.event == "written":
            number = int(event.payload["n"])
            told = Repeated(number) if event.replayed else number
            self.told.setdefault(event.topic, []).append(told)
        elif isinstance(event, Broadcast):
            self.others[event.event] += 1
        self.stir()

    def gap_opened(self, reason: str, tables: frozenset[str], topics: frozenset[str]) -> None:
        self.reasons[reason] += 1
        if self.noticed is None:
            self.noticed = asyncio.get_running_loop().time()
        for name in (*tables, *topics):
            self.told.setdefault(name, []).append(Opened(reason))
            self.open[reason, name] += 1
        self.stir()

    def tap(self, raw: bytes | Gap) -> None:
        """See every frame: count those that a case waits for."""
        if isinstance(raw, bytes) and b'"phx_close"' in raw:
            self.frames["phx_close"] += 1
            self.stir()

    def backoff(self) -> Iterator[float]:
        for _ in count():
            self.steps += 1
            yield STEP

    async def pause(self, seconds: float) -> None:
        self.attempts += 1
        self.stir()
        if self.attempts > FAR_TOO_OFTEN:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(seconds)  # as the link asks for: a STEP

    def hear(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """Note a line of the log: a processor of structlog."""
        self.lines.append(str(event["event"]))
        self.said.append(dict(event))
        self.stir()
        return event

    # What a case asks

    def start_counting(self) -> None:
        self.attempts = self.steps = 0

    @property
    def gaps(self) -> int:
        """How many gaps were opened."""
        return self.reasons.total()

    def last(self, name: str) -> int:
        """The newest row or message of a stream that came, 0 for none."""
        for one in reversed(self.told.get(name, ())):
            if isinstance(one, int | Repeated):
                return one if isinstance(one, int) else one.number
        return 0

    def stir(self) -> None:
        """Have whoever waits look again."""
        self._stirred.set()

    async def until(self, met: Callable[[], bool]) -> None:
        """Return once the condition is met."""
        while not met():
            self._stirred.clear()
            await self._stirred.wait()
