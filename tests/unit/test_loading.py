"""Are handlers found, and is every mistake in them named at once?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worker.errors import ConfigError
from worker.routing import load

Package = Callable[[dict[str, str]], str]
GOOD = """
from worker import on
@on.change("public.leads")
async def seen(change, do): ...
"""


@pytest.fixture
def package(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Package]:
    """Write modules into a package of its own and return its name."""
    name = f"package_{abs(hash(request.node.name))}"

    def write(files: dict[str, str]) -> str:
        for file, text in {"__init__.py": "", **files}.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return name

    sys.path.insert(0, str(tmp_path))
    yield write
    sys.path.remove(str(tmp_path))
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


def mistakes(name: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(name)
    return caught.value.mistakes


def test_handlers_are_found_wherever_they_are_in_the_package(package: Package) -> None:
    name = package(
        {"b.py": GOOD, "a.py": GOOD, "deep/__init__.py": "", "deep/c.py": GOOD, "d.py": ""}
    )

    assert [route.handler_name for route in load(name).all] == ["a.seen", "b.seen", "deep.c.seen"]


def test_a_module_may_answer_for_names_it_has_not(package: Package) -> None:
    name = package({"a.py": GOOD + "\ndef __getattr__(name):\n    raise RuntimeError(name)\n"})

    assert [route.handler_name for route in load(name).all] == ["a.seen"]


def test_an_imported_handler_is_not_routed_twice(package: Package) -> None:
    name = package({"a.py": GOOD, "b.py": "from .a import seen\n"})

    assert [route.handler_name for route in load(name).all] == ["a.seen"]


def test_each_module_that_does_not_import_is_named_with_its_error(package: Package) -> None:
    name = package(
        {
            "a.py": GOOD,
            "b.py": "import nothing_of_that_name\n",
            "c.py": "\n\nraise ValueError('no such thing')\n",
            "d.py": "def (:\n",
            "e.py": "import sys\nsys.exit(3)\n",
        }
    )
    found = mistakes(name)

    assert len(found) == 4
    assert found[0].startswith(f"{name}.b does not import: ModuleNotFoundError: No module named")
    assert found[0].endswith("(b.py, line 1)")
    assert found[1] == f"{name}.c does not import: ValueError: no such thing (c.py, line 3)"
    assert found[2].startswith(f"{name}.d does not import: SyntaxError: ")
    assert found[3] == f"{name}.e does not import: SystemExit: 3 (e.py, line 2)"


def test_each_wrong_declaration_is_named(package: Package) -> None:
    name = package(
        {
            "a.py": """
from worker import on
@on.change("leads", "UPSERT")
async def no_schema(change, do): ...
@on.change("public.leads")
def not_async(change, do): ...
@on.change("public.leads", when=lambda change: True)
async def no_predicate(change): ...
@on.change()
async def nothing(change, do): ...
@on.broadcast("realtime:office")
async def prefixed(broadcast, do): ...
@on.gap("leads")
async def gap(gap, do): ...
"""
        }
    )

    assert mistakes(name) == (
        f"{name}.a.no_schema: 'leads' names no schema: write 'public.leads'",
        f"{name}.a.no_schema: 'UPSERT' is no kind of change"
        " (INSERT, UPDATE, DELETE, TRUNCATE, READ)",
        f"{name}.a.not_async is not a coroutine function: write `async def`",
        f"{name}.a.no_predicate: when= is not a predicate such as changed('status')"
        " or where(city='X')",
        f"{name}.a.no_predicate does not take two arguments: the event, and what to do",
        f"{name}.a.nothing: it names no table",
        f"{name}.a.prefixed: 'realtime:office': name the topic without 'realtime:'",
        f"{name}.a.gap: 'leads' names no schema: write 'public.leads'",
    )


def test_a_package_that_is_not_there_or_has_no_handlers_is_refused(package: Package) -> None:
    name = package({"a.py": "x = 1\n"})

    assert "has no handlers" in mistakes(name)[0]
    assert mistakes(f"{name}_not_there")[0].startswith(f"{name}_not_there does not import: ")
