"""What does a test of the processes find ready?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.deployment import HANDLERS
from tests.acceptance.realtime import be_realtime
from tests.integration.scripted import scripted


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder the process runs in, with a package of handlers named `deployment`."""
    (tmp_path / "deployment").mkdir()
    (tmp_path / "deployment" / "__init__.py").write_text('"""Handlers."""\n')
    (tmp_path / "deployment" / "leads.py").write_text(HANDLERS)
    return tmp_path


@pytest.fixture
async def supabase() -> AsyncIterator[str]:
    async with scripted(be_realtime) as url:
        yield url
