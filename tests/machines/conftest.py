"""The one way by which a test gets an emulated board."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# For `import playing` and `import honesty`: pytest's importlib mode leaves a test's own folder out of the import path.
sys.path.insert(0, str(Path(__file__).parent))

import honesty
from playing import BENCH, LAB_FOLDER, play, stop


@pytest.fixture(scope="module")
def board(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a board of the tests' lab that is up, as the module's markers say.

    ``board(name, kernel=..., kernel_params=[...], state={...})``: which one, and with ``state`` (as of
    playbooks/converge.yml) its guest too. ``asserts_on(...)`` decides whether it may have come from a
    snapshot (honesty.py). It ends with the module.
    """
    marker = request.node.get_closest_marker("board")
    assert marker, "say which board the module wants: pytestmark = pytest.mark.board('bench-a', ...)"
    name = marker.args[0]
    given = {"start": honesty.start(honesty.asserted(request.node)), **marker.kwargs}
    said = play(LAB_FOLDER / "board.yml", *BENCH, "-l", name, "-e", json.dumps(given))
    assert "status 0" in said, said
    yield name
    stop(name)
