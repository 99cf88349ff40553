"""Which handler wants which event?"""

from . import declare as on
from .declare import Handler
from .loading import load
from .predicates import Predicate, changed, either, one_of, was, where
from .routes import Description, Route, Routes

__all__ = [
    "Description",
    "Handler",
    "Predicate",
    "Route",
    "Routes",
    "changed",
    "either",
    "load",
    "on",
    "one_of",
    "was",
    "where",
]
