"""What statistics return: an interval, or a refusal with its reason."""

from __future__ import annotations

from dataclasses import dataclass

CONFIDENCE = 0.95  # of every interval, unless another is asked for


@dataclass(frozen=True)
class Refused:
    """No number, because the data do not allow it; ``reason`` is one sentence for the reader of the page."""

    reason: str


@dataclass(frozen=True)
class Interval:
    """A confidence interval, ends included; ``low`` may be -inf and ``high`` inf. Its unit is that of the estimate."""

    low: float
    high: float
    confidence: float = CONFIDENCE

    def contains(self, value: float) -> bool:
        """Whether a value lies in the interval."""
        return bool(self.low <= value <= self.high)
