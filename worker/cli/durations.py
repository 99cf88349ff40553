"""How long is `1m30s`?"""

from __future__ import annotations

import re

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")


def seconds(text: str) -> float:
    """
    Return `30s`, `1m`, `2h30m`, `250ms` or a bare number as seconds.

    Raises ValueError for what is no length of time, or none that passes.
    """
    text = text.strip().lower()
    if re.fullmatch(r"\d+(?:\.\d+)?", text):
        total = float(text)
    elif re.fullmatch(rf"(?:{_PART.pattern})+", text):
        total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    else:
        raise ValueError(f"{text!r} is not a length of time like 30s, 1m or 2h")
    if total <= 0:
        raise ValueError("it has to be longer than nothing")
    return total
