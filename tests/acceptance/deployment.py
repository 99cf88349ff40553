"""What does the deployment of these tests consist of?"""

from __future__ import annotations

HANDLERS = '''
"""What the tests' deployment does about events."""

from worker import Change, Effects, on


@on.change("public.leads", "INSERT", "UPDATE")
async def lead_kept(change: Change, do: Effects) -> None:
    """The change's id keeps it from being written twice."""
    do.audit(change)
'''


def settings_for(database_url: str, supabase_url: str, **more: str) -> dict[str, str]:
    """The environment of a process that runs these handlers; `hunter2` must never be said."""
    return {
        "DATABASE_URL": database_url,
        "SUPABASE_URL": supabase_url,
        "SUPABASE_KEY": "sb_secret_hunter2",
        "HANDLERS": "deployment",
        "SINKS": "log",
        "CANARY_SECONDS": "0",  # of the servers written by hand here, none sends a beat back
        **more,
    }
