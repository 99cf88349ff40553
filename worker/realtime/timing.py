"""How long is what waited for?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. The defaults are those of a real server: a failing join blocks its socket for 5."""

    heartbeat: float = 25.0  # the server closes a socket that is silent for 60
    silence: float = 20.0  # after a heartbeat; a cold tenant blocks the socket for about 15
    join: float = 20.0  # for an answer, from the last answer of any join: they come one by one
    subscribed: float = 30.0  # from the join's answer to `Subscribed to PostgreSQL`
    replication: float = 65.0  # … to `Replication connection established`: it tries for 60
    degraded: float = 60.0  # for the server to mend it; it tries again every 5 to 10
    refused: float = 300.0  # before asking again what was refused for good
    unwatched: float = 60.0  # before asking again for tables not there: a migration brings them
    closing: float = 10.0  # from a fatal message to the `phx_close` it announces
    pace: float = 0.05  # between two joins: they are limited by the second, for the whole tenant
    slowest: float = 1.0  # … after joins were refused for being too many
    renewed: float = 30.0  # from a new token to the subscription it repeats, after 1 to 3
    barren: float = 300.0  # without a channel that is ready, before another connection is tried
    stable: float = 60.0  # ready for so long, a channel's backoff starts over
