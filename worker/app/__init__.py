"""What runs, from start to stop?"""

from .parts import assemble
from .running import run
from .stopping import run_to_the_end

__all__ = ["assemble", "run", "run_to_the_end"]
