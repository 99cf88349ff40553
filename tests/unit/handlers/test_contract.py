"""Does every handler keep the contract?"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import handlers
from tests.support.handling import ROUTES
from worker.routing import Route

MODULES = [
    importlib.import_module(f"handlers.{info.name}")
    for info in pkgutil.iter_modules(handlers.__path__)
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_a_handler_module_says_in_one_line_what_it_does(module: ModuleType) -> None:
    assert module.__doc__ is not None and "\n" not in module.__doc__


@pytest.mark.parametrize("route", ROUTES.all, ids=lambda route: route.handler_name)
def test_a_handler_is_a_coroutine_function_that_says_why_redelivery_is_harmless(
    route: Route,
) -> None:
    assert inspect.iscoroutinefunction(route.handler)
    assert inspect.getdoc(route.handler)
    assert route.describe().event


def test_every_module_routes_something() -> None:
    routed = {route.handler_name.partition(".")[0] for route in ROUTES.all}

    assert routed == {module.__name__.removeprefix("handlers.") for module in MODULES}
