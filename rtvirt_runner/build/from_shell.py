"""Build an artifact from a shell script: ``python -m rtvirt_runner.build.from_shell RECIPE``.

RECIPE is a file with the fields of artifacts.Recipe as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rtvirt_runner.build import artifacts


def recipe(values: Mapping[str, Any]) -> artifacts.Recipe:
    """A recipe of plain values."""
    sources = [Path(source) for source in values.get("sources", [])]
    return artifacts.Recipe(**{**values, "script": Path(values["script"]), "sources": sources})


def main(arguments: Sequence[str]) -> int:
    """Find or build the artifact; returns 1 and says why if it could not be built."""
    (path,) = arguments
    try:
        artifacts.build(recipe(json.loads(Path(path).read_text())), artifacts.cache_folder(), print)
    except (artifacts.BuildError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
