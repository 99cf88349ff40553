"""What can be asked of the worker on the command line?"""

from .commands import main

__all__ = ["main"]
