"""What may a handler import? Everything named here, and nothing deeper."""

from .effects import Effects
from .errors import Reject
from .event import Broadcast, Change, Event, Gap, Presence, Row

__all__ = [
    "Broadcast",
    "Change",
    "Effects",
    "Event",
    "Gap",
    "Presence",
    "Reject",
    "Row",
]
