"""Do the benchmarks measure what they say?"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from benchmarks.__main__ import ratio
from benchmarks.changes import changes

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_every_reader_reads_every_frame_and_both_ratios_are_said(loop: str) -> None:
    command = [sys.executable, "-m", "benchmarks", "--frames", "40", "--turns", "1", "--loop", loop]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert re.search(r"worker link ÷ websockets \+ orjson: \d+\.\d\d ", done.stdout)
    assert re.search(r"worker link ÷ stock realtime client: \d+\.\d\d ", done.stdout)
    assert f"all on {loop}" in done.stdout


def test_the_ratio_is_the_median_of_neighbours() -> None:
    ours = [{"seconds": 1.0}, {"seconds": 2.0}, {"seconds": 4.0}]
    theirs = [{"seconds": 0.5}, {"seconds": 2.0}, {"seconds": 2.8}]

    assert ratio({"link": ours, "bare": theirs}, "bare", "seconds") == 0.7


def test_the_changes_are_of_1_4_kilobytes_and_no_two_are_alike() -> None:
    topic = "realtime:tidemark:public.leads"
    frames = [
        orjson.dumps([None, None, topic, "postgres_changes", {"data": data, "ids": [1]}])
        for data in changes(1000)
    ]

    assert 1350 < sum(map(len, frames)) / len(frames) < 1450
    assert len(set(frames)) == 1000
