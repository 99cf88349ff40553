"""Does every sink keep the contract?"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

from worker.outbox import Options, find, sinks
from worker.settings import SINKS

NAMES = [info.name for info in pkgutil.iter_modules(sinks.__path__)]


@pytest.mark.parametrize("name", NAMES)
async def test_a_sink_opens_and_yields_a_way_to_send(name: str) -> None:
    options = Options("http://127.0.0.1:1", "key")
    async with find([name])[name](options) as send:
        assert inspect.iscoroutinefunction(send)


@pytest.mark.parametrize("name", NAMES)
def test_a_sink_says_what_it_is_for(name: str) -> None:
    module = importlib.import_module(f"worker.outbox.sinks.{name}")

    assert module.__doc__ is not None and "\n" not in module.__doc__
    assert inspect.getdoc(module.opened)


def test_the_sinks_of_the_settings_are_there() -> None:
    assert list(find(SINKS)) == list(SINKS)
    assert list(find(["log", "log"])) == ["log"]
