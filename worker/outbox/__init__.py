"""How do notifications get out?"""

from .delivery import deliver
from .sink import Options, Send, find, opened

__all__ = ["Options", "Send", "deliver", "find", "opened"]
