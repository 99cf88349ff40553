"""What may a handler import? Everything named here, and nothing deeper."""

from .effects import Effects
from .errors import Reject
from .event import Broadcast, Change, Event, Gap, Presence, Row
from .routing import Predicate, changed, either, on, one_of, was, where

__all__ = [
    "Broadcast",
    "Change",
    "Effects",
    "Event",
    "Gap",
    "Predicate",
    "Presence",
    "Reject",
    "Row",
    "changed",
    "either",
    "on",
    "one_of",
    "was",
    "where",
]
