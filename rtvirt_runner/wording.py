"""Numbers and names as the page writes them for people."""

from __future__ import annotations

from collections.abc import Sequence

from rtvirt_runner.stats import Histogram

NOTHING = "\u2013"  # an en dash


def unit(clock: str) -> str:
    """Microseconds, and whose."""
    return "µs (virtual time)" if clock == "virtual" else "µs"


def number(value: float | None) -> str:
    """With commas between the thousands."""
    return NOTHING if value is None else f"{value:,}"


def decimals(value: float) -> str:
    """With one decimal."""
    return f"{value:,.1f}"


def quantile(value: int | None, histogram: Histogram) -> str:
    """A quantile, or what is known of one that lies in the overflow."""
    return f"≥ {histogram.limit_us:,}" if value is None else f"{value:,}"


def times(value: float, base: float) -> str:
    """How many times as long."""
    return f"{value / base:.1f} \u00d7" if base else NOTHING


def signed(difference: int) -> str:
    """A difference, with its sign."""
    return f"{difference:+,}" if difference else "0"


def listed(names: Sequence[str], word: str = "and") -> str:
    """``a, b and c``."""
    return f" {word} ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
