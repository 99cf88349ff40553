"""What is counted, and under which name?"""

from __future__ import annotations

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

registry = REGISTRY

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

frames_received = Counter("tidemark_frames_received", "Frames read from Realtime", ["event"])
frames_unreadable = Counter(
    "tidemark_frames_unreadable", "Frames that made no sense, by kind of fault", ["kind"]
)
changes_withheld = Counter(
    "tidemark_changes_withheld", "Changes Realtime tells of without their row", ["table"]
)
connections_opened = Counter("tidemark_connections_opened", "Connections to Realtime opened")
connections_lost = Counter("tidemark_connections_lost", "Connections to Realtime lost")
heartbeat_seconds = Histogram(
    "tidemark_heartbeat_seconds", "Heartbeat sent to its answer", buckets=_SECONDS
)
canary_seconds = Histogram(
    "tidemark_canary_seconds", "A beat begun to its coming back", ["kind"], buckets=_SECONDS
)
canary_missed = Counter(
    "tidemark_canary_missed", "Beats that did not come back, by remedy", ["kind", "remedy"]
)
channels_ready = Gauge("tidemark_channels_ready", "Channels through which events flow")
gaps_open = Gauge("tidemark_gaps_open", "Gaps not yet closed")
gaps_closed = Counter("tidemark_gaps_closed", "Gaps closed, by reason", ["reason"])

tokens_renewed = Counter("tidemark_tokens_renewed", "Tokens that Auth gave the signed-in user")
tokens_missed = Counter("tidemark_tokens_missed", "Attempts in which Auth gave no token")

events_received = Counter(
    "tidemark_events_received", "Events taken in, by kind of event", ["source"]
)
events_unrouted = Counter("tidemark_events_unrouted", "Events no route wanted", ["source"])
events_handled = Counter(
    "tidemark_events_handled", "Handler runs, by how they ended", ["handler", "outcome"]
)
handler_seconds = Histogram(
    "tidemark_handler_seconds", "One run of a handler", ["handler"], buckets=_SECONDS
)
inbox_waiting = Gauge("tidemark_inbox_waiting", "Events read and not yet handled")

units_committed = Counter("tidemark_units_committed", "Units of work committed")
unit_seconds = Histogram("tidemark_unit_seconds", "One unit of work", buckets=_SECONDS)
effects_committed = Counter("tidemark_effects_committed", "Effects committed, by kind", ["effect"])
commit_to_effects_seconds = Histogram(
    "tidemark_commit_to_effects_seconds",
    "A change's commit to the commit of its effects",
    buckets=_SECONDS,
)
dead_letters_stored = Counter(
    "tidemark_dead_letters_stored", "Events a handler gave up", ["handler"]
)

cache_reads = Counter("tidemark_cache_reads", "Reads of a cache: hit or miss", ["cache", "outcome"])
cache_evictions = Counter("tidemark_cache_evictions", "Entries pushed out by newer ones", ["cache"])
cache_entries = Gauge("tidemark_cache_entries", "Entries held", ["cache"])

notifications_sent = Counter(
    "tidemark_notifications_sent", "Notifications handed to a sink", ["sink"]
)
notifications_failed = Counter("tidemark_notifications_failed", "Attempts a sink refused", ["sink"])
outbox_waiting = Gauge("tidemark_outbox_waiting", "Notifications not yet delivered")

ready = Gauge("tidemark_ready", "1 while every channel is ready and the database answers")
