"""The command ``rtvirt``, one module per family of commands."""

from __future__ import annotations

import locale
import os
import sys
from io import TextIOWrapper

from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.extras import extra


def start() -> int:
    """Run the command line; returns the exit code, which is 2 when the extra ``run`` is not installed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what the terminal's encoding lacks becomes an escape
            stream.reconfigure(errors="backslashreplace")
    _use_a_locale_that_is_here()
    try:
        with extra("run"):
            from rtvirt_runner.cli.main import main
    except InputError as error:
        print(f"rtvirt: {error}", file=sys.stderr)
        return 2
    return main()


def _use_a_locale_that_is_here() -> None:
    """Have Ansible start, which refuses a locale that is not in UTF-8 or not on this machine, such as one by ssh."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "")
        is_usable = locale.getlocale()[1] == "UTF-8"
    except (locale.Error, ValueError):
        is_usable = False
    locale.setlocale(locale.LC_ALL, before)
    if not is_usable:
        os.environ["LC_ALL"] = "C.UTF-8"
