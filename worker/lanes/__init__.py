"""By which ways do events come to their handlers?"""

from .live import LiveLane

__all__ = ["LiveLane"]
