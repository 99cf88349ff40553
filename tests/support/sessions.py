"""How does a test speak to a session as a Realtime server would?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import orjson

from worker.realtime.channel import State
from worker.realtime.protocol import Frame
from worker.realtime.session import Session
from worker.realtime.timing import Timing
from worker.subscription import Binding, Subscription

LEADS = Subscription("leads", (Binding("public", "leads"),))
ROOM = Subscription("room", broadcast=True)
DOOR = Subscription("door", broadcast=True)  # once it is accepted, several may join at a time
SUBSCRIBED = "Subscribed to PostgreSQL"
REPLICATION = "Replication connection established"


def backoff() -> Iterator[float]:
    """1, 2, 3 …: waits a test can count."""
    return (float(number) for number in count(1))


def session(*subscriptions: Subscription, **timing: float) -> Session:
    return Session(
        subscriptions, token="jwt", now=0.0, timing=Timing(pace=0.0, **timing), backoff=backoff
    )


class Server:
    """Says to the session what a Realtime server would, and keeps what it was sent."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.sent: list[list[Any]] = []

    def tick(self, now: float) -> list[str]:
        """Pass the time; return the events of the frames that were due."""
        frames = [orjson.loads(text) for text in self.session.tick(now)]
        self.sent += frames
        return [frame[3] for frame in frames]

    def say(
        self, event: str, topic: str, payload: Any, now: float, *, join: Any = "", ref: Any = None
    ) -> None:
        join_ref = self.join_ref(topic) if join == "" else join
        self.session.receive(Frame(join_ref, ref, f"realtime:{topic}", event, payload), now)

    def join_ref(self, topic: str, place: int = -1) -> str:
        joins = [frame for frame in self.sent if frame[2:4] == [f"realtime:{topic}", "phx_join"]]
        ref = joins[place][1]
        assert isinstance(ref, str)
        return ref

    def accept(self, topic: str, now: float, place: int = -1) -> None:
        ref = self.join_ref(topic, place)
        reply = {"status": "ok", "response": {"postgres_changes": []}}
        self.say("phx_reply", topic, reply, now, join=ref, ref=ref)

    def refuse(self, topic: str, response: Any, now: float) -> None:
        ref = self.join_ref(topic)
        reply = {"status": "error", "response": response}
        self.say("phx_reply", topic, reply, now, join=ref, ref=ref)

    def system(self, topic: str, message: str, now: float, **differences: Any) -> None:
        payload = {"extension": "postgres_changes", "status": "ok", "message": message}
        self.say("system", topic, {**payload, **differences}, now)

    def answer_heartbeat(self, now: float) -> None:
        ref = next(frame[1] for frame in reversed(self.sent) if frame[3] == "heartbeat")
        reply = {"status": "ok", "response": {}}
        self.session.receive(Frame(None, ref, "phoenix", "phx_reply", reply), now)

    def make_ready(self, *topics: str, now: float) -> None:
        for topic in topics:
            self.tick(now)
            self.accept(topic, now)
            if self.session.channels[topic].subscription.bindings:
                self.system(topic, SUBSCRIBED, now)
        self.session.moves.clear()


def state(session: Session, topic: str = "leads") -> State:
    return session.channels[topic].state
