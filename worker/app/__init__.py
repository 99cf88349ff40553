"""Of which parts is the worker made, how do they run, and how do they stop?"""

from .parts import assemble
from .recording import record_until
from .running import run
from .stopping import run_to_the_end

__all__ = ["assemble", "record_until", "run", "run_to_the_end"]
