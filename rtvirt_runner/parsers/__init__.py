"""Parsers, one tool per module: from its text or JSON to plain values. Nothing here runs a tool."""

from __future__ import annotations

from typing import Any

MOST = 2**63 - 1  # that a whole number of a tool's output may be: C's long on a board of 64 bits


class ParseError(ValueError):
    """A tool's output cannot be parsed; the message is one sentence that says what is wrong with it."""


def whole(value: Any) -> int:
    """A number of a tool that counts; raises ValueError when it is no whole number from 0 to MOST."""
    if type(value) is int and 0 <= value <= MOST:
        return value
    raise ValueError(f"{str(value)[:60]!r} is no whole number from 0 to {MOST}")
