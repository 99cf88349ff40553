"""Count the times in which live events may have been missed."""

from worker import Effects, Gap, on


@on.gap()
async def count_gap(gap: Gap, do: Effects) -> None:
    """A gap is told once, when it closes."""
    do.count("gaps", reason=gap.reason)
