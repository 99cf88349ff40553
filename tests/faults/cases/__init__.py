"""Which faults are there, how does each begin and end, and what is to come of it?"""

from tests.faults.cases.channels import CHANNELS
from tests.faults.cases.connections import CONNECTIONS
from tests.faults.cases.frames import FRAMES
from tests.faults.cases.silences import SILENCES

CASES = (*CONNECTIONS, *CHANNELS, *FRAMES, *SILENCES)

__all__ = ["CASES", "CHANNELS", "CONNECTIONS", "FRAMES", "SILENCES"]
