"""How is Postgres reached?"""

from __future__ import annotations

from .pools import Connection, Database, current

__all__ = ["Connection", "Database", "current"]
