"""What does the test of a handler find ready?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from records import agents
from records.agents import Agent
from tests.support.handling import AGENT


@pytest.fixture(autouse=True)
def offline() -> Iterator[None]:
    """No handler reads a database here; the agent is the one that was put."""
    agents.recalled.clear()
    agents.recalled.put(AGENT, Agent.from_row({"id": AGENT, "name": "Al"}))
    yield
    agents.recalled.clear()
