"""What all tests share: the rules of the suite, the programs that tests call, a hypothesis profile."""

import sys
from pathlib import Path

import hypothesis

# For `import suite`: pytest's importlib mode leaves this folder out of the import path.
sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["suite.plugin", "tools", "pytester"]

# Two workers share this machine with whatever else runs on it: how long an example takes says nothing.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")
