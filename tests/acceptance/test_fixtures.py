"""Do the handlers still ask for what they asked for when the stories were recorded?"""

from pathlib import Path

import pytest

from .process import ROOT, worker_process

RECORDINGS = sorted((ROOT / "tests" / "fixtures").glob("*.jsonl"))


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
async def test_a_story_ends_as_it_did(recording: Path, tmp_path: Path) -> None:
    """When a handler was meant to change: `python -m tests.support.stories` tells them anew."""
    expected = recording.with_suffix(".expected")
    arguments = ("replay", str(recording), "--expect", str(expected))

    async with worker_process(*arguments, folder=tmp_path, settings={}) as worker:
        status = await worker.ends()

    assert (status, worker.output) == (0, ""), worker.story()


async def test_what_replay_prints_is_what_it_compares_with_in_any_locale(tmp_path: Path) -> None:
    recording = next(path for path in RECORDINGS if path.stem == "approvals-decided")
    expected = recording.with_suffix(".expected").read_text(encoding="utf-8")
    settings = {"PYTHONIOENCODING": "ascii"}

    async with worker_process("replay", str(recording), folder=tmp_path, settings=settings) as it:
        assert await it.ends() == 0, it.story()

    assert not expected.isascii()
    assert it.output == expected


def test_there_are_stories_and_each_has_its_end() -> None:
    assert len(RECORDINGS) >= 3
    assert all(recording.with_suffix(".expected").exists() for recording in RECORDINGS)


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_no_story_tells_a_secret(recording: Path) -> None:
    for path in (recording, recording.with_suffix(".expected")):
        told = path.read_text().lower()
        assert "password" not in told and "never to be seen" not in told
