"""How late a wake-up stops a trace: what a user may say, on the command line and in a matrix, and of which cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtvirt_runner.catalogue.checked_yaml import InputError, format_value, is_int, known_keys, require_int
from rtvirt_runner.catalogue.kernels import Kernel
from rtvirt_runner.matrix.cell import BOTH, Cell
from rtvirt_runner.matrix.trace_files import MORE_LOOPS

AUTO = "auto"  # the p99.9 of the same cell without a trace
NO_TRACE = "none"  # in a matrix
_LIMITS_US = (1, 1_000_000)
_KEY = "threshold_us"
_MOST_LOOPS = (1 << 31) - 1  # of cyclictest, which counts with an int
_MONO_RAW_SINCE = (4, 2)  # the clock that traces of board and guest have


def read_threshold(value: Any, where: str) -> int | str:
    """A threshold in us, or AUTO; raises InputError. A number may be a text, as a command line has it."""
    if value == AUTO:
        return AUTO
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    low, high = _LIMITS_US
    if not is_int(number) or not low <= number <= high:
        raise InputError(
            f"{where} is {format_value(value)}, expected {AUTO} or whole microseconds from {low} to {high}; correct it."
        )
    return int(number)


def read_trace(value: Any, where: str) -> int | str | None:
    """The key ``trace`` of a matrix: a threshold in us, AUTO, or None for no trace; raises InputError."""
    if isinstance(value, dict):
        known_keys(value, (_KEY,), where)
        return require_int(value.get(_KEY), _LIMITS_US, f"{where}.{_KEY}")
    if value not in (AUTO, NO_TRACE):
        raise InputError(
            f"{where} is {format_value(value)}, expected {AUTO}, {NO_TRACE} or a mapping such as {{{_KEY}: 250}}; "
            "correct it."
        )
    return AUTO if value == AUTO else None


def why_untraceable(cell: Cell, kernels: Mapping[str, Kernel]) -> str:
    """Why a cell cannot be traced, as far as a matrix tells, a clause; '' if nothing speaks against it."""
    if cell.place == BOTH:
        return "its place is both, which measures without a trace"
    for name in (cell.kernel, cell.guest_state.kernel if cell.guest_state else ""):
        version = kernels[name].version if name in kernels else None
        if version and version < _MONO_RAW_SINCE:
            since = ".".join(map(str, _MONO_RAW_SINCE))
            return f"kernel '{name}' has no clock mono_raw for it, which Linux has since {since}"
    if cell.loops * MORE_LOOPS > _MOST_LOOPS:
        return (
            f"a trace takes up to {MORE_LOOPS} times its {cell.loops} loops, more than cyclictest counts, {_MOST_LOOPS}"
        )
    return ""
