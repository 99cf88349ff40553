"""How do the effects of a batch become one transaction?"""

from .work import First, UnitOfWork

__all__ = ["First", "UnitOfWork"]
