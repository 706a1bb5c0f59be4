"""Write the page and the table of a matrix; wraps rtvirt_runner.report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.rtvirt.testbed.plugins.modules.report import DOCUMENTATION
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.options import argument_spec
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import package_imports

with package_imports():
    from ansible_collections.rtvirt.testbed.plugins.plugin_utils.ansible_matrix import load_matrix

    from rtvirt_runner.catalogue.checked_yaml import InputError
    from rtvirt_runner.catalogue.extras import extra
    from rtvirt_runner.matrix import missing
    from rtvirt_runner.matrix.results import ResultsTree, unusable
    from rtvirt_runner.matrix.select import select_cells


class ActionModule(ActionBase):
    """Returns page (its path), missing (cells that are not done) and sentences that name these.

    Changed when the content of a file changed.

    Warns of records that cannot be used, and of a page with fewer measured cells than the one that it replaces.
    """

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the report."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=argument_spec(DOCUMENTATION))
        known = task_vars or {}
        try:
            with extra("report"):  # here, because pandas and matplotlib take a second to import
                from rtvirt_runner.report.page import write_report
            matrix, _, _ = load_matrix(
                args["matrix"], known["groups"], known["hostvars"], args["vars_dir"], args["repetitions"]
            )
            chosen = select_cells(matrix, args["only"])
        except InputError as error:
            return {"failed": True, "msg": str(error)}
        tree = ResultsTree(Path(str(args["results_dir"])))
        left = {cell.id: tree.find(matrix.name, cell) for cell in tree.pending(matrix.name, chosen)}
        reasons = {cell_id: record.reason if record else "" for cell_id, record in left.items()}
        folder = tree.root / matrix.name / "report"
        before = _contents(folder)
        found = tree.read(matrix.name, matrix.cells)
        try:
            report = write_report(matrix, tree, found)
        except OSError as error:
            sentence = f"{error.filename}: {error.strerror}; check the room on its disk and its permissions."
            return {"failed": True, "msg": sentence}
        bad = [f"Damaged record {each.path}: {each.reason}" for each in unusable(found)]
        return {
            "changed": _contents(folder) != before,
            "page": str(report.page),
            "missing": [{"id": cell_id, "reason": reason} for cell_id, reason in reasons.items()],
            "sentences": missing.sentences(reasons),
            "warnings": [*bad, *([report.kept] if report.kept else [])],
        }


def _contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
