"""What goes wrong with single frames?"""

from __future__ import annotations

from functools import partial

from tests.faults.cases.connections import MOST_STEPS, ON_ITS_WAY, RECONNECTED
from tests.faults.play import Case, all_of, for_a_while, said
from tests.faults.writer import STREAMS, TABLE

UNREADABLE = frozenset({"frame.unreadable", "gap.opened", "gap.closed"})

_Unreadable = partial(
    Case,
    switch="malformed_frame",
    lasts=said("gap.closed"),
    says=UNREADABLE,
    does="counts it, names its kind once, keeps the connection",
    loses="nothing else; what was in the frame: a gap says so at once",
)

FRAMES = (
    *(_Unreadable(value=form) for form in ("text", "binary", "empty")),
    Case(
        switch="oversized_frame", value="8388608", gaps=(0, 0),
        lasts=lambda on: on.notes.others["oversized"] > 0,
        does="takes it: frames of up to 16 MiB are read", loses="nothing",
    ),
    Case(
        switch="oversized_frame", value="20000000", attempts=1, steps=1, says=RECONNECTED,
        does="hangs up with 1009 and reconnects with backoff", loses=ON_ITS_WAY,
    ),
    Case(
        switch="change_error", value="413", writes=True, gaps=(0, 0),
        lasts=all_of(lambda on: on.notes.errors["Error 413: Payload Too Large"] > 0, for_a_while),
        does="tells the change with what is left of the row, and its `errors`",
        loses="values of more than 64 bytes; the change says so",
    ),
    *(
        Case(
            switch="change_error", value=code, writes=True, gaps=(1, 400),
            lasts=all_of(said("gap.closed"), for_a_while),
            says=frozenset({"change.withheld", "gap.opened", "gap.closed"}),
            does="says once as an error what is to be mended, and opens a gap for the table",
            loses="the row, since nothing of it is shown; a gap says so at once",
        )
        for code in ("401", "400")
    ),
    Case(
        switch="drop_frames", value="0.5@1", attempts=1, steps=MOST_STEPS, says=RECONNECTED,
        allows=dict.fromkeys(STREAMS, frozenset({"silent"})),
        does="reconnects when the answer to a heartbeat is among them, joins again when one to a "
        "join is",
        loses="single changes and messages, and nobody can say so: Realtime numbers nothing",
    ),
    Case(
        switch="duplicate_frames", value="0.5@1", beside=("crash_channels",), steps=MOST_STEPS,
        lasts=all_of(said("channel.ready", 2), for_a_while),
        says=frozenset({"channel.lost", "channel.ready", "gap.closed"}),
        allows={TABLE: frozenset({"doubled"})},
        does="tells broadcasts with an id once, and changes as often as they come: an UPDATE that "
        "changes nothing has an equal frame",
        loses="nothing that is not said",
    ),
    Case(
        switch="reorder_frames", value="0.5@1", beside=("crash_channels",), steps=MOST_STEPS,
        lasts=all_of(said("channel.ready", 2), for_a_while),
        says=frozenset({"channel.lost", "channel.ready", "gap.closed"}),
        allows=dict.fromkeys(STREAMS, frozenset({"late"})),
        does="tells them in the order they come", loses="nothing that is not said",
    ),
)  # fmt: skip
