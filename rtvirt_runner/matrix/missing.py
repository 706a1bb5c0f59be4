"""Cells that are not done, in sentences: one for each reason, however many cells have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MOST_NAMED = 5  # cells of one reason


def sentences(missing: Mapping[str, str]) -> list[str]:
    """Sentences without a full stop, in the order of the cells.

    ``missing``: id of a cell -> why it failed, or '' if it was not measured.
    """
    cells: dict[str, list[str]] = {}
    for cell_id, reason in missing.items():
        cells.setdefault(reason, []).append(cell_id)
    return [_sentence(ids, reason) for reason, ids in cells.items()]


def _sentence(ids: Sequence[str], reason: str) -> str:
    if len(ids) == 1:
        return f"cell {ids[0]} failed: {reason}" if reason else f"cell {ids[0]} was not measured"
    named, more = list(ids[:MOST_NAMED]), len(ids) - MOST_NAMED
    last = f"{more} more" if more > 0 else named.pop()
    which = f"cells {', '.join(named)} and {last}"
    return f"{which} failed: {reason}" if reason else f"{which} were not measured; 'rtvirt plan' shows them"
