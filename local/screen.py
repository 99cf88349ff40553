"""What does `make run` show?"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .truth import Comparison

_SHOWN_LINES = 8
_SHOWN_ELSE = ("event", "level", "timestamp", "logger")


@dataclass(frozen=True, slots=True)
class Figures:
    """The worker's own metrics, by name and labels, as read from its page."""

    samples: Mapping[str, float]
    buckets: Sequence[tuple[float, float]]  # (seconds, commits seen within them), ascending

    @classmethod
    def read(cls, text: str) -> Figures:
        """Read Prometheus text; samples of one name are added up, and kept by label value too."""
        samples: dict[str, float] = {}
        buckets: list[tuple[float, float]] = []
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples[sample.name] = samples.get(sample.name, 0) + sample.value
                for value in sample.labels.values():
                    name = f"{sample.name}:{value}"
                    samples[name] = samples.get(name, 0) + sample.value
                if sample.name == "tidemark_commit_to_effects_seconds_bucket":
                    buckets.append((float(sample.labels["le"]), sample.value))
        return cls(samples, sorted(buckets))

    def __getitem__(self, name: str) -> float:
        return self.samples.get(f"tidemark_{name}", 0.0)

    def latency(self, share: float) -> str:
        """Return the bound under which `share` of all changes went from commit to effects."""
        total = self.buckets[-1][1] if self.buckets else 0
        if not total:
            return "–"
        bound = next(bound for bound, seen in self.buckets if seen >= share * total)
        return "over 30 s" if bound == float("inf") else f"≤ {bound * 1000:g} ms"

    @property
    def hit_rate(self) -> str:
        hits, misses = self["cache_reads_total:hit"], self["cache_reads_total:miss"]
        return f"{hits / (hits + misses):.0%}" if hits + misses else "–"


@dataclass(slots=True)
class Screen:
    """One screenful: figures above, the worker's last log lines below."""

    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_SHOWN_LINES))
    figures: Figures = field(default_factory=lambda: Figures({}, ()))

    def note(self, entry: Mapping[str, Any]) -> None:
        """Keep one log entry of the worker, in a line."""
        rest = " ".join(
            f"{key}={_short(key, value)}" for key, value in entry.items() if key not in _SHOWN_ELSE
        )
        clock = str(entry.get("timestamp", ""))[11:19]
        self.lines.append(f"{clock} {entry.get('level', '')[:4]:4} {entry.get('event')} {rest}")

    def __rich__(self) -> RenderableType:
        log = Text("\n".join(self.lines), no_wrap=True, overflow="ellipsis")
        return Group(table(self.figures), Panel(log, title="the worker's log", title_align="left"))


def _short(key: str, value: object) -> str:
    """The log has ids whole; here the beginning says enough."""
    is_id = key in ("id", "event_id", "recipient")
    return f"{str(value)[:8]}…" if is_id else str(value)


def rows(figures: Figures) -> list[tuple[str, str]]:
    """Return what the screen and the plain lines both say, in this order."""
    return [
        ("events in", f"{figures['events_received_total:change']:.0f}"),
        ("handlers run", f"{figures['events_handled_total']:.0f}"),
        ("audit rows", f"{figures['effects_committed_total:audit']:.0f}"),
        ("cache hits", figures.hit_rate),
        ("notifications", f"{figures['notifications_sent_total']:.0f}"),
        ("commit → effects", f"p50 {figures.latency(0.5)}, p95 {figures.latency(0.95)}"),
        ("waiting", f"{figures['inbox_waiting']:.0f}"),
        ("dead letters", f"{figures['dead_letters_stored_total']:.0f}"),
    ]


def table(figures: Figures) -> Table:
    """Lay the figures out in two columns."""
    grid = Table.grid(padding=(0, 2))
    for name, value in rows(figures):
        grid.add_row(Text(name, style="dim"), Text(value, style="bold"))
    return grid


def one_line(figures: Figures) -> str:
    """Return the figures as one line, for an output that is no terminal."""
    return " · ".join(f"{name} {value}" for name, value in rows(figures))


def summary(figures: Figures, comparison: Comparison, seconds: float, worker_log: str) -> str:
    """Return the last screen: what was committed, what was handled, and whether they agree."""
    verdict = (
        "audit rows and changes agree"
        if comparison.agrees
        else f"audit rows and changes DISAGREE: {comparison.missing} missing, "
        f"{comparison.unexpected} unexpected, {comparison.different} different"
    )
    facts = [
        ("changes committed", f"{comparison.changes}"),
        ("audit rows written", f"{comparison.audited}"),
        *rows(figures),
        ("running for", f"{seconds:.1f} s"),
        ("worker's log", worker_log),
    ]
    width = max(len(name) for name, _ in facts) + 2
    return "\n".join([*(f"  {name:{width}}{value}" for name, value in facts), "", f"  {verdict}"])
