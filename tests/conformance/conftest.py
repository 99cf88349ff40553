"""What does a test of foreign clients find ready?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import node_packages


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JavaScript client and what it needs, as the lockfile names it."""
    return node_packages.installed(tmp_path_factory.getbasetemp())
