"""Format numbers and names for the page."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from rtvirt_runner.analysis.histogram import Histogram

EN_DASH = "\u2013"
TIMES = "\u00d7"
_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def clock_suffix(clock: str) -> str:
    """Suffix of a unit of time: `` (virtual time)`` for the virtual clock."""
    return " (virtual time)" if clock == "virtual" else ""


def unit(clock: str) -> str:
    """The unit microsecond with the suffix of the clock."""
    return f"µs{clock_suffix(clock)}"


def micro(text: str) -> str:
    """A sentence that is for terminals too, with microseconds as the page writes them."""
    return re.sub(r"(?<=\d) us\b", "\u00a0µs", text)


def number(value: float | None) -> str:
    """An integer or float with commas between thousands; an en dash for None."""
    return EN_DASH if value is None else f"{value:,}"


def decimals(value: float) -> str:
    """A number with one decimal."""
    return f"{value:,.1f}"


def quantile(value: int | None, histogram: Histogram) -> str:
    """A quantile in us; ``≥`` the histogram's limit when it lies in the overflow (None)."""
    return f"≥ {histogram.limit_us:,}" if value is None else f"{value:,}"


def ratio_2dp(value: float, base: float) -> str:
    """``value / base`` with two decimals and ``×``; an en dash when base is 0."""
    return f"{value / base:.2f} {TIMES}" if base else EN_DASH


def duration(seconds: float) -> str:
    """Seconds with four digits in s, ms, µs or ns."""
    size, name = next((pair for pair in _SECONDS if seconds >= pair[0]), _SECONDS[-1])
    value = seconds / size
    digits = max(0, 3 - math.floor(math.log10(value))) if value >= 1 else 3
    return f"{value:,.{digits}f}\u00a0{name}"


def listed(names: Sequence[str], word: str = "and") -> str:
    """``a, b and c``."""
    return f" {word} ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
