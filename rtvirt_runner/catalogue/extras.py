"""Optional dependencies (pyproject.toml): the extra ``run`` for the command rtvirt, ``report`` for the page."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from rtvirt_runner.catalogue.checked_yaml import InputError


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """Context for importing packages of an extra; raises InputError, with how to install it, if one is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("rtvirt_runner"):
            raise
        raise InputError(
            f"The Python package {error.name} is missing in {sys.prefix}, expected it there with the extra '{name}' of "
            f"rtvirt-runner; run {sys.executable} -m pip install 'rtvirt-runner[{name}]'."
        ) from None
