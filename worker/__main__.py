"""What does `python -m worker` do?"""

import signal

# Imports take half a second, and a Ctrl-C in one would end in a traceback of somebody else's code.
before = signal.getsignal(signal.SIGINT)
if before is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from worker.cli import main  # noqa: E402 - after the signal is seen to

signal.signal(signal.SIGINT, before)
main()
