"""How late a wake-up stops a trace: what a user may say."""

from __future__ import annotations

from typing import Any

from rtvirt_runner.catalogue.checked_yaml import InputError, format_value, is_int

AUTO = "auto"  # the p99.9 of the same cell without a trace
_LIMITS_US = (1, 1_000_000)


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
