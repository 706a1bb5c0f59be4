"""Filters trace_environment and trace_threshold; wraps rtvirt_runner.machine.trace_script."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import FilterImports
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.plain import plain

with FilterImports() as imports:
    from rtvirt_runner.analysis.histogram import Histogram, QuantileBeyondOverflow, quantile
    from rtvirt_runner.catalogue.checked_yaml import InputError
    from rtvirt_runner.machine import trace_script
    from rtvirt_runner.matrix.cell import Cell
    from rtvirt_runner.matrix.results import ResultsTree
    from rtvirt_runner.matrix.threshold import AUTO, read_threshold


def trace_environment(cell: Mapping[str, Any], side: str, threshold_us: int | None = None) -> dict[str, dict[str, str]]:
    """The variables of the scripts that trace a cell on a side (host or guest), by the script's name.

    Those of ``break_cyclictest``, and what ``end_trace`` asks rtla for, only where a threshold is given.
    """
    given = Cell.from_dict(plain(cell))
    late = None if threshold_us is None else int(threshold_us)
    found = {
        "make_trace": trace_script.make_environment(trace_script.lasts_s(given)),
        "begin_trace": trace_script.begin_environment(str(side)),
        "end_trace": trace_script.end_environment(str(side), given, late),
    }
    if late is not None:
        found["break_cyclictest"] = trace_script.break_environment(given, late)
    return found


def trace_threshold(asked: Any, cell: Mapping[str, Any], matrix_name: str, results_dir: str) -> int:
    """How late in us a wake-up is to be; ``auto``: later than the p99.9 of a record of the cell.

    Raises AnsibleFilterError, one sentence, for anything else, and when the cell has no record there that is done.
    """
    given = Cell.from_dict(plain(cell))
    record = ResultsTree(Path(str(results_dir))).find(str(matrix_name), given)
    output = getattr(record, "output", None)
    if output is None:
        reason = record.reason if record else "it was not measured"
        raise AnsibleFilterError(f"The cell without a trace is no measurement: {reason}")
    try:
        threshold = read_threshold(plain(asked), "The threshold of a trace")
        if threshold != AUTO:
            return int(threshold)
        return quantile(Histogram.of_run(output.latencies, given.histogram_us), 0.999)
    except (InputError, QuantileBeyondOverflow) as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The plugin class that Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return imports.usable({"trace_environment": trace_environment, "trace_threshold": trace_threshold})
