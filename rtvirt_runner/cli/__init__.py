"""The command ``rtvirt``, one module per family of commands."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.extras import extra


def start() -> int:
    """Run the command line; returns the exit code, which is 2 when the extra ``run`` is not installed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what the terminal's encoding lacks becomes an escape
            stream.reconfigure(errors="backslashreplace")
    try:
        with extra("run"):
            from rtvirt_runner.cli.main import main
    except InputError as error:
        print(f"rtvirt: {error}", file=sys.stderr)
        return 2
    return main()
