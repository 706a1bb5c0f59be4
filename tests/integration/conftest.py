"""Brings tools, and makes ``import web`` work: in pytest's importlib mode a test's folder is not searched."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def _tools(tools: None) -> None:
    """Every test of this tier may call them."""
