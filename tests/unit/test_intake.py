"""How much is read before somebody handles it?"""

from __future__ import annotations

import pytest

from tests.support.sessions import ROOM, session
from worker.realtime.events import Decoder
from worker.realtime.handover import Handover
from worker.realtime.intake import Intake
from worker.realtime.protocol import encode
from worker.realtime.watch import Watch

from .test_doubts import Told


@pytest.mark.parametrize(
    ("payload", "frames"),
    [(["x" * 3_000_000], 6), ([[]] * 1_000_000, 1), ([{"a": 1}] * 100_000, 1)],
)
def test_what_a_frame_becomes_counts_and_not_only_its_length(payload: object, frames: int) -> None:
    """Brackets become twenty times as many bytes of memory, and anybody may send them to a room."""
    handover = Handover()
    watch = Watch([ROOM], Told(), handover, None)
    intake = Intake(Decoder(()), handover, watch, None)
    raw = encode(None, None, "realtime:room", "broadcast", {"event": "e", "payload": payload})

    taken = 0
    while not handover.is_full:
        intake.take(raw.encode(), session(ROOM), 0.0)
        taken += 1

    assert taken == frames
