"""What is remembered, and for how long is it true?"""

from .caches import Caches, find
from .recall import Recall

__all__ = ["Caches", "Recall", "find"]
