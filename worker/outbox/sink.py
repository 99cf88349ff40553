"""What is a sink, and which ones are there?"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from ..effects import Notice
from ..errors import ConfigError
from . import sinks

Send: TypeAlias = Callable[[Notice], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Options:
    """
    What a sink may need to know. The key is the service role's, or an `sb_secret_…` one.

    Where a user signs in, `user_token` returns their token, None while there is none.
    """

    supabase_url: str = ""
    supabase_key: str = field(default="", repr=False)
    user_token: Callable[[], str | None] | None = None


Opened: TypeAlias = Callable[[Options], AbstractAsyncContextManager[Send]]


def find(names: Iterable[str]) -> dict[str, Opened]:
    """Return the sinks of these names. Raises ConfigError naming each that is not there."""
    known = sorted(info.name for info in pkgutil.iter_modules(sinks.__path__))
    mistakes = [
        f"SINKS: there is no sink {name!r} (there are: {', '.join(known)})"
        for name in names
        if name not in known
    ]
    if mistakes:
        raise ConfigError(*mistakes)
    return {
        name: importlib.import_module(f"{sinks.__name__}.{name}").opened
        for name in dict.fromkeys(names)
    }


@asynccontextmanager
async def opened(names: Iterable[str], options: Options) -> AsyncIterator[dict[str, Send]]:
    """Open the sinks of these names. Raises ConfigError as `find` does."""
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(open_sink(options))
            for name, open_sink in find(names).items()
        }
