"""Which faults are there, how does each begin and end, and what is to come of it?"""

from tests.faults.cases.channels import CHANNELS
from tests.faults.cases.connections import CONNECTIONS
from tests.faults.cases.frames import FRAMES

CASES = (*CONNECTIONS, *CHANNELS, *FRAMES)

__all__ = ["CASES", "CHANNELS", "CONNECTIONS", "FRAMES"]
