"""What was read back of each setting, in a form that tables show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rtvirt_runner.machine.settings_readback import ABSENT, FIXED, OK, WRONG, Row, setting_rows


def rows_by_setting(items: Sequence[Any]) -> dict[str, list[Row]]:
    """The fact ``settings`` of a machine, by setting, in the order of reading."""
    found: dict[str, list[Row]] = {}
    for row in setting_rows([each for each in items if isinstance(each, Mapping)]):
        found.setdefault(row.setting, []).append(row)
    return found


def describe_rows(rows: Sequence[Row]) -> str:
    """How many rows of one setting are as wanted, and what is to be said of the others."""
    states = Counter(row.state for row in rows)
    if states[ABSENT] == len(rows):
        return "not applicable: the machine does not have it"
    here = len(rows) - states[ABSENT]
    said = "ok" if states[OK] == here == 1 else f"ok {states[OK]} of {here}"
    said += f", {states[FIXED]} not to be changed" if states[FIXED] else ""
    wrong = [f"{row.source} is '{row.found}', wanted '{row.wanted}'{row.reason}" for row in rows if row.state in WRONG]
    return "; ".join([said, *wrong])
