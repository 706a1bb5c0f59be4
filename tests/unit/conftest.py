"""Makes ``import fakes`` and ``import honesty`` work: pytest's importlib mode leaves tests' folders out of the path."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "machines")]
