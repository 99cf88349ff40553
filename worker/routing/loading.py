"""Which handlers are there?"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import ConfigError
from .declare import declared
from .routes import Route, Routes


def load(package: str) -> Routes:
    """
    Walk the package and return the routes of its handlers.

    Raises ConfigError naming, all at once, each module that does not import with its error
    and each declaration that is wrong; or the package, when it holds no handler.
    """
    mistakes: list[str] = []
    routes: list[Route] = []
    for module in modules(package, mistakes):
        prefix = module.__name__.removeprefix(package).removeprefix(".")
        for name, function in vars(module).items():
            # An imported handler belongs to the module that defines it.
            if declared(function) and function.__module__ == module.__name__:
                handler_name = f"{prefix}.{name}" if prefix else name
                mistakes += _mistakes(f"{package}.{handler_name}", function)
                routes += [Route(handler_name, function, wants) for wants in declared(function)]
    if mistakes:
        raise ConfigError(*mistakes)
    if not routes:
        raise ConfigError(
            f"package {package!r} has no handlers: no function in it is decorated with"
            " @on.change, @on.broadcast, @on.presence or @on.gap"
        )
    return Routes(routes)


def modules(package: str, mistakes: list[str]) -> Iterator[ModuleType]:
    """Import the package and all below it, in name order; what does not import adds a mistake."""
    root = _imported(package, mistakes)
    if root is None:
        return
    yield root
    # Not with getattr: a module may answer for names it has not, and raise what it likes.
    found = pkgutil.iter_modules(vars(root).get("__path__", []))
    for name in sorted(info.name for info in found):
        yield from modules(f"{package}.{name}", mistakes)


def _imported(name: str, mistakes: list[str]) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    # A module may raise anything at import, even leave the process: it is named with the others.
    except (Exception, SystemExit) as error:
        mistakes.append(f"{name} does not import: {_said(error)}")
        return None


def _said(error: BaseException) -> str:
    """One line: the error, and the place in the handlers' own code where it happened."""
    words = f"{type(error).__name__}: {error}".splitlines()[0]
    if isinstance(error, SyntaxError):
        return words
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and frame.filename != __file__
    ]
    return (
        f"{words} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else words
    )


def _mistakes(name: str, function: Any) -> list[str]:
    if not inspect.iscoroutinefunction(function):
        return [f"{name} is not a coroutine function: write `async def`"]
    found = [f"{name}: {mistake}" for wants in declared(function) for mistake in wants.mistakes()]
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        found.append(f"{name} does not take two arguments: the event, and what to do")
    return found
