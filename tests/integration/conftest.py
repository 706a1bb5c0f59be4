"""Makes ``import web`` work: pytest's importlib mode leaves a test's own folder out of the import path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
