"""As whom does the worker sign in, and is its token fresh?"""

from .account import Account
from .signed_in import SignedIn

__all__ = ["Account", "SignedIn"]
