"""Who hears what is said on a topic?"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from local.realtime.authorization import Rights
from local.realtime.join import Join
from local.realtime.serializer import Frame, Serializer


class Topic(NamedTuple):
    """A private and a public topic of one name have nothing to do with each other."""

    name: str
    private: bool

    @property
    def wire(self) -> str:
        return f"realtime:{self.name}"


class Hearer(Protocol):
    """A joined channel, as far as fan-out is concerned."""

    join: Join
    rights: Rights
    replayed: frozenset[str]

    @property
    def serializer(self) -> Serializer: ...

    def send(self, frame: Frame) -> None: ...

    def shut_down(self, why: str) -> None: ...


class Topics:
    """The channels joined to each topic, in the order they joined."""

    def __init__(self) -> None:
        self._hearers: dict[Topic, dict[Hearer, None]] = {}

    def join(self, topic: Topic, hearer: Hearer) -> None:
        self._hearers.setdefault(topic, {})[hearer] = None

    def leave(self, topic: Topic, hearer: Hearer) -> None:
        hearers = self._hearers.get(topic, {})
        hearers.pop(hearer, None)
        if not hearers:
            self._hearers.pop(topic, None)

    def tell(
        self,
        topic: Topic,
        encode: Callable[[Serializer], Frame | None],
        wanted: Callable[[Hearer], bool] = lambda _: True,
        told: Callable[[Hearer], None] = lambda _: None,
    ) -> None:
        """
        Hand a message to each wanted channel, encoded once for each version of the wire format.

        `told` is called with each of them, even where its version cannot carry the message.

        Never waits: what a client does not read piles up, bounded, at its own connection.
        """
        frames: dict[Serializer, Frame | None] = {}
        for hearer in list(self._hearers.get(topic, ())):
            if not wanted(hearer):
                continue
            serializer = hearer.serializer
            if serializer not in frames:
                frames[serializer] = encode(serializer)
            frame = frames[serializer]
            if frame is not None:
                hearer.send(frame)
            told(hearer)
