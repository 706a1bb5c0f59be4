"""Whatever is in a file or an answer: no traceback, no long wait, and nothing accepted that is not valid.

The suite takes some inputs, always the same, and those in tests/data/fuzz. CONTRIBUTING.md says how to take more.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from fuzzing import TARGETS, feed
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

CORPUS = Path(__file__).parents[1] / "data" / "fuzz"
LIMIT_S = 5.0  # of processor time, for one input
INPUTS = int(os.environ.get("RTVIRT_FUZZ_INPUTS", "0"))  # of all targets together; 0: few, always the same


def timed(target: str, content: bytes) -> str:
    began = time.process_time()
    refusal = feed(target, content)
    assert time.process_time() - began < LIMIT_S
    return refusal


@pytest.mark.parametrize("target", TARGETS)
def test_any_input(target: str) -> None:
    @settings(
        max_examples=-(-INPUTS // len(TARGETS)) or 60,
        derandomize=not INPUTS,
        database=None,
        deadline=None,
        phases=[Phase.generate],  # to shrink an input takes minutes
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def take(data: st.DataObject) -> None:
        content = data.draw(TARGETS[target].inputs)
        timed(target, content)

    take()


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_input_of_the_corpus(path: Path) -> None:
    """Those of files that a user writes are all refused."""
    target = path.parent.name
    assert bool(timed(target, path.read_bytes())) == TARGETS[target].refuses
