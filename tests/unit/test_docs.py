"""Do the documents say what the code does?"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from typer.main import get_command

from worker.cli.commands import cli
from worker.routing import load

pytestmark = pytest.mark.docs

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
MARKDOWN = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
]


def logged(source: str) -> Iterator[tuple[str, str]]:
    """Yield (event, level) of each call like `log.warning("connection.lost", …)`."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=name), attr=level),
                args=[ast.Constant(value=str(event)), *_],
            ) if name in ("log", "said") and level in LEVELS:
                yield event, "error" if level == "exception" else level


def events_in_code() -> set[tuple[str, str]]:
    return {
        entry
        for package in ("worker", "handlers", "records", "local")
        for file in (ROOT / package).rglob("*.py")
        for entry in logged(file.read_text())
    }


def events_in_docs() -> set[tuple[str, str]]:
    rows = re.findall(
        r"^\| `([a-z_]+\.[a-z_]+)` \| ([a-z, ]+) \|",
        (ROOT / "docs/operations.md").read_text(),
        re.MULTILINE,
    )
    return {(event, level.strip()) for event, levels in rows for level in levels.split(",")}


def test_every_log_event_is_in_the_operations_page_and_no_other() -> None:
    assert events_in_docs() == events_in_code()


def test_log_events_are_named_noun_dot_participle() -> None:
    odd = {event for event, _ in events_in_code() if not re.fullmatch(r"[a-z_]+\.[a-z_]+", event)}

    assert not odd


def commands() -> list[str]:
    group = get_command(cli)
    return sorted(getattr(group, "commands"))  # noqa: B009 # click's type has it on groups only


def test_every_command_is_in_the_operations_page() -> None:
    page = (ROOT / "docs/operations.md").read_text()

    assert [name for name in commands() if f"`python -m worker {name}" not in page] == []


def test_the_readme_is_short_and_begins_with_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()

    assert len(readme.splitlines()) <= 120
    assert re.findall(r"^\s*(make \w+)", readme, re.MULTILINE)[:2] == ["make run", "make test"]


def test_ci_runs_the_readme_test_command_then_the_checks() -> None:
    script = (ROOT / ".ci/run").read_text()

    assert re.findall(r"^(make \w+)", script, re.MULTILINE) == ["make test", "make check"]


def test_make_help_names_what_the_readme_promises() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)

    for target in ("run", "test", "check", "help"):
        assert re.search(rf"^  make {target} ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("page", ["README", "CONTRIBUTING"])
def test_the_handler_that_a_page_shows_can_be_loaded(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / f"{page}.md").read_text()
    (shown,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    package = tmp_path / f"shown_in_{page.lower()}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "example.py").write_text(dedent(shown))
    monkeypatch.syspath_prepend(tmp_path)

    (route,) = load(package.name).all

    assert route.handler_name.startswith("example.")


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


def modules() -> list[Path]:
    return [
        file
        for package in ("worker", "handlers", "records", "local")
        for file in (ROOT / package).rglob("*.py")
        if file.read_text().strip()
    ]


@pytest.mark.parametrize("module", modules(), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_begins_with_one_line_that_says_what_it_is(module: Path) -> None:
    docstring = ast.get_docstring(ast.parse(module.read_text()))

    assert docstring, "no docstring"
    assert len(docstring.splitlines()[0]) <= 100


def test_constraints_pin_exactly_and_name_no_index() -> None:
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]

    assert [line for line in lines if not re.fullmatch(r"[\w.\-]+==[\w.+]+", line)] == []
