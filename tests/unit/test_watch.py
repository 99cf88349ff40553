"""What is said once, and how much of what a server says is remembered?"""

from typing import Any

import structlog

from tests.support.sessions import LEADS, Server, session
from worker.errors import HandshakeRefused
from worker.event import Event, Gap
from worker.realtime.channel import Moved, State
from worker.realtime.events import Withheld
from worker.realtime.handover import Handover
from worker.realtime.session import Session
from worker.realtime.watch import MOST_TOLD, Watch


class Nobody:
    async def receive(self, event: Event, size: int) -> None: ...
    def gap_opened(self, reason: str, tables: frozenset[str], topics: frozenset[str]) -> None: ...


def watch() -> Watch:
    return Watch([LEADS], Nobody(), Handover(), None)


def refused(watch: Watch, reason: str) -> None:
    its = Session([], token=None, now=0.0)
    its.moves.append(Moved("leads", State.JOINING, State.REFUSED, reason))
    watch.moved(its, 0.0)


def said(lines: list[Any], event: str) -> list[Any]:
    return [line for line in lines if line["event"] == event]


def test_a_refusal_that_only_counts_on_is_said_once() -> None:
    it = watch()
    with structlog.testing.capture_logs() as lines:
        for seconds in range(5):
            refused(it, f"InvalidJWTToken: Token has expired {seconds} seconds ago")
        refused(it, "Unauthorized: …")

    assert len(said(lines, "channel.refused")) == 2


def test_a_server_that_finds_new_words_without_end_fills_no_memory() -> None:
    it = watch()
    with structlog.testing.capture_logs() as lines:
        for number in range(MOST_TOLD * 2):
            refused(it, "x" * (number % 190) + chr(0x4E00 + number))
            it.withheld(Withheld(f"public.{chr(0x4E00 + number)}", "Error 401"), 0.0)
        refused(it, "Unauthorized: …")
        refused(it, "Unauthorized: …")

    assert len(it._told) == MOST_TOLD
    assert len(said(lines, "channel.refused")) == MOST_TOLD * 2 + 1


def test_momentary_gaps_that_are_alike_are_said_once_a_minute_and_all_are_told() -> None:
    told: list[Any] = []
    it = Watch([LEADS], Nobody(), Handover(), told.append)
    with structlog.testing.capture_logs() as lines:
        for second in range(61):
            it.withheld(Withheld("public.leads", "Error 401"), float(second))
            assert isinstance(told[-1], Gap)
            it.handing_on(told[-1])
        it.withheld(Withheld("public.agents", "Error 401"), 61.0)

    assert len(told) == 62
    assert len(said(lines, "gap.opened")) == len(said(lines, "gap.closed")) == 3


def test_a_refused_handshake_is_an_error_once_until_there_was_a_connection() -> None:
    it, lost = watch(), HandshakeRefused(403, "Realtime was disabled for this tenant")
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            it.lost(lost, "host", 1.0)
        it.opened("host")
        it.lost(lost, "host", 1.0)

    levels = [line["log_level"] for line in said(lines, "connection.refused")]
    assert levels == ["error", "warning", "warning", "error"]


def test_a_channel_that_joins_again_and_again_says_so_once() -> None:
    it = watch()
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            its = Session([], token=None, now=0.0)
            its.moves.append(Moved("leads", State.JOINING, State.JOINED, "joined"))
            it.moved(its, 0.0)

    assert len(said(lines, "channel.joined")) == 1


def test_what_we_join_again_ourselves_is_no_warning_for_each_channel() -> None:
    it = watch()
    its = session(LEADS)
    Server(its).make_ready("leads", now=0.0)

    its.rejoin(2.0, "no canary beat", changes_only=True)
    with structlog.testing.capture_logs() as lines:
        it.moved(its, 2.0)

    assert [line["log_level"] for line in said(lines, "channel.left")] == ["debug"]
    assert not said(lines, "channel.lost")
