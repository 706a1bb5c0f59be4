"""The Python package that the plugins stand on, and what is said where it is missing."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from ansible.errors import AnsibleError, AnsibleFilterError


@contextlib.contextmanager
def package_imports() -> Iterator[None]:
    """Context for importing rtvirt_runner; raises AnsibleError, with the command that helps, where that fails."""
    try:
        yield
    except ImportError as error:
        raise AnsibleError(_sentence(error)) from None


class FilterImports:
    """The same for filters, which Ansible leaves out with a warning when their file cannot be loaded."""

    def __init__(self) -> None:
        self._failure = ""

    def __enter__(self) -> FilterImports:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, ImportError):
            self._failure = _sentence(error)
        return bool(self._failure)

    def usable(self, filters: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
        """The filters; where an import has failed, each raises AnsibleFilterError when it is used."""
        return dict.fromkeys(filters, self._refuse) if self._failure else dict(filters)

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise AnsibleFilterError(self._failure)


def _sentence(error: ImportError) -> str:
    """Raises the error itself if it is not about rtvirt_runner."""
    if not str(error.name).startswith("rtvirt_runner"):
        raise error
    if find_spec("rtvirt_runner") is None:
        return (
            f"The collection rtvirt.testbed needs the Python package rtvirt-runner in {sys.prefix}, where Ansible "
            f"runs; install it with: {sys.executable} -m pip install rtvirt-runner"
        )
    return (
        f"The Python package rtvirt-runner in {sys.prefix} does not fit this version of the collection rtvirt.testbed "
        f"({error}); install the same version of both, with: {sys.executable} -m pip install --upgrade rtvirt-runner"
    )
