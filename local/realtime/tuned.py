"""Which settings does somebody ask for by name?"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_type_hints

from local.realtime.limits import REAL, Limits
from local.realtime.settings import Settings
from local.realtime.switch import number

_PRESETS = {"real": REAL, "none": Limits()}
_LIMIT, _KEY = "limits.", "api_keys."


def tuned(arguments: Sequence[str]) -> Settings:
    """
    The settings that each `NAME=VALUE` makes of the defaults, one after the other.

    Names are those of `Settings`; `limits=real` are the real server's rate limits, `limits.events`
    is one of them, and `api_keys.sb_…` the role that a key stands for. Two seconds with `..`
    between them are a range, `none` is no limit. Raises ValueError, which says what is wrong.
    """
    settings = Settings()
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals:
            raise ValueError(f"{argument} has no value: write NAME=VALUE")
        settings = _with(settings, name.strip(), text.strip())
    return settings


def names() -> list[str]:
    """All that can be set, but for the keys, whose names are free."""
    limits = [_LIMIT + name for name in _readable(Limits)]
    return [*_readable(Settings), "limits", *limits]


def _with(settings: Settings, name: str, text: str) -> Settings:
    if name == "limits" and text in _PRESETS:
        return replace(settings, limits=_PRESETS[text])
    if name == "limits":
        raise ValueError(f"limits: {text} is none of: {' | '.join(_PRESETS)}")
    if name.startswith(_KEY):
        keys = {**settings.api_keys, name.removeprefix(_KEY): text}
        return replace(settings, api_keys=keys)
    if name.startswith(_LIMIT) and name in names():
        changed = {name.removeprefix(_LIMIT): _value(Limits, name.removeprefix(_LIMIT), text)}
        return replace(settings, limits=replace(settings.limits, **changed))
    if name in names():
        return replace(settings, **{name: _value(Settings, name, text)})
    raise ValueError(_unknown(name))


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names())}"
    return f"no setting is called {name}: {hint}"


def _value(owner: type, name: str, text: str) -> Any:
    try:
        return _readable(owner)[name](text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _readable(owner: type) -> Mapping[str, Callable[[str], Any]]:
    """How the text of each field is read; those of other types cannot be set by name."""
    hints = get_type_hints(owner)
    return {name: _READERS[hint] for name, hint in hints.items() if hint in _READERS}


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text} is no whole number")
    return int(text)


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{text} is neither true nor false")
    return text == "true"


def _range(text: str) -> tuple[float, float]:
    """One number is a range as well."""
    first, dots, last = text.partition("..")
    return number(first), number(last if dots else first)


def _or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text == "none" else read(text)


_READERS: dict[Any, Callable[[str], Any]] = {
    float: number,
    int: _whole,
    bool: _flag,
    tuple[float, float]: _range,
    float | None: _or_none(number),
    int | None: _or_none(_whole),
}
