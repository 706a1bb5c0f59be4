"""Words for what was judged: factors with their intervals, and what is said of many of them together."""

from __future__ import annotations

from collections.abc import Sequence

from rtvirt_runner.analysis.comparisons import MergedMeasurement
from rtvirt_runner.analysis.contrasts import Judged, What
from rtvirt_runner.analysis.effects import Effect, Finding
from rtvirt_runner.report.format import EN_DASH, TIMES, listed, ratio_2dp

ONCE = (
    "Each was measured once, so nothing here says by how much a second measurement would differ: take no small "
    "difference for a real one."
)
_CALLS = {"higher": "later", "lower": "earlier"}
_LARGE = 100.0  # factors from which decimals say nothing


def factors(base: MergedMeasurement, changed: MergedMeasurement, judged: Judged) -> tuple[str, str]:
    """``changed / base`` of average and p99, each with its interval on a second line; see ``factor``."""
    return (
        factor(judged.of(base, changed, "avg"), changed.histogram.avg_us, base.histogram.avg_us),
        factor(judged.of(base, changed, "p99"), changed.p99_us, base.p99_us),
    )


def factor(finding: Finding, changed: float, base: float) -> str:
    """The effect and, on a second line, its interval; where it is refused the ratio of what was measured, and why."""
    if not isinstance(finding.effect, Effect) or not finding.simultaneous:
        return f"{ratio_2dp(changed, base)}\n{refusal(finding)}" if base else EN_DASH
    low, high = finding.simultaneous.low, finding.simultaneous.high
    return f"{times(finding.effect.estimate)}\n{short(low)} to {short(high)}"


def refusal(finding: Finding) -> str:
    """Why nothing is said of an effect, in two words or three."""
    reason = "" if isinstance(finding.effect, Effect) else finding.effect.reason
    if "needed to know" in reason:
        return "measured once"
    return "beyond the histogram" if "overflow" in reason else "all alike"


def called(finding: Finding) -> str:
    """What is said of one effect, in a few words."""
    if finding.call == "refused":
        return refusal(finding)
    if finding.call in _CALLS:
        return _CALLS[finding.call]
    return f"no difference found\n{seen(finding)} could be"


def seen(finding: Finding) -> str:
    """The smallest factor that would probably have been called; an en dash when the effect was refused."""
    return EN_DASH if finding.could_have_seen is None else times(finding.could_have_seen)


def times(value: float) -> str:
    """A factor."""
    return f"{short(value)} {TIMES}"


def short(value: float) -> str:
    """A factor without its sign; with few digits where they would say nothing."""
    if value >= 10 * _LARGE:
        return f"> {10 * _LARGE:,.0f}"
    return f"{value:.0f}" if value >= _LARGE else f"{value:.1f}" if value >= _LARGE / 10 else f"{value:.2f}"


def told(what: str, changes: Sequence[tuple[str, Finding]], prefix: str = "without") -> str:
    """One sentence or two about many effects on one number: which are later, earlier, or not told, and how large.

    ``prefix`` stands before the names: 'without irqs p99 is later: 1.90 x (1.50 to 2.30)'. Empty when all are refused.
    """
    said = []
    for call, word in _CALLS.items():
        names = [f"{name} ({_span(finding)})" for name, finding in changes if finding.call == call]
        said += [f"{prefix} {listed(names, 'or')} {what} is {word}"] if names else []
    untold = [(name, finding) for name, finding in changes if finding.call == "not told"]
    if untold:
        least, most = (pick(f.could_have_seen or 0.0 for _, f in untold) for pick in (min, max))
        span = times(least) if short(least) == short(most) else f"{short(least)} to {times(most)}"
        names = [name for name, _ in untold]
        where = f"{prefix} {listed(names, 'or')}" if len(untold) < len(changes) else f"{prefix} any of them"
        where = f"{prefix} {names[0]}" if len(changes) == 1 else where
        said.append(f"no difference of {what} was found {where}; one of {span} could have been seen")
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def judged_once(findings: Sequence[Finding]) -> bool:
    """Whether nothing is said since everything was measured once."""
    return bool(findings) and all(each.call == "refused" and refusal(each) == "measured once" for each in findings)


def both(base: MergedMeasurement, changed: MergedMeasurement, judged: Judged) -> list[Finding]:
    """The findings of average and p99."""
    whats: tuple[What, ...] = ("avg", "p99")
    return [judged.of(base, changed, what) for what in whats]


def _span(finding: Finding) -> str:
    if not isinstance(finding.effect, Effect) or not finding.simultaneous:
        return refusal(finding)
    low, high = finding.simultaneous.low, finding.simultaneous.high
    return f"{times(finding.effect.estimate)}, {short(low)} to {short(high)}"
