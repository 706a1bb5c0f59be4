"""Sealed machines: the same inputs give the same bins, whatever else the computer does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from playing import LIMIT_S, SCRIPTS, count_boot, owned, run, sealed_machines

from rtvirt_runner.catalogue import collection
from rtvirt_runner.matrix.results import Record, ResultsTree, find_matrices

pytestmark = [
    pytest.mark.asserts_on("booting", "answers"),
    pytest.mark.xdist_group("virtual lab"),  # its boards' folders
]
MATRIX = Path(__file__).parent / "sealed.yml"


def measure(matrix: str | Path, folder: Path) -> str:
    """Measure a matrix on sealed machines as a user would."""
    environment = {name: value for name, value in owned().items() if name != "RTVIRT_OWNER_PID"}
    command = [SCRIPTS / "rtvirt", "matrix", "--matrix", str(matrix), "--results", folder]
    count_boot("sealed")
    return run(command, environment, 1800)


@contextmanager
def beside_load() -> Iterator[None]:
    """On each core something that is busy, and not, for moments of different length."""
    source = "import time\nwhile True:\n for n in range(1, 9):\n  sum(range(n * 10**6))\n  time.sleep(n / 10)"
    loops = [subprocess.Popen([sys.executable, "-c", source]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def verdicts(before: Path, after: Path) -> set[str]:
    """What ``rtvirt compare --exact`` says of the cells of two results folders."""
    said = run([SCRIPTS / "rtvirt", "compare", "--exact", "--json", str(before), str(after)])
    return {row["verdict"] for row in json.loads(said.rpartition("status")[0])}


def answers(folder: Path) -> dict[str, str]:
    """SHA-256 of what each cell of a results folder answered, its workload's output included."""
    return {
        record.cell.id: record.system["sealed"]["answer"]
        for tree, name in find_matrices(folder)
        for record in tree.load_records(name)
    }


def assert_the_same(before: Path, after: Path) -> None:
    """The bins of all cells of two results folders, and all that they answered, are the same."""
    assert verdicts(before, after) == {"same"}
    assert answers(before) == answers(after)


def twice(matrix: str | Path, folder: Path) -> tuple[Path, Path]:
    """Two results folders of a matrix, the second measured beside a load."""
    said = measure(matrix, folder / "quiet")
    assert "status 0" in said, said
    with beside_load():
        said = measure(matrix, folder / "loaded")
    assert "status 0" in said, said
    return folder / "quiet", folder / "loaded"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return twice(MATRIX, tmp_path_factory.mktemp("sealed"))


@pytest.fixture(scope="module")
def records(measured: tuple[Path, Path]) -> list[Record]:
    return ResultsTree(measured[0]).load_records("sealed")


def test_host_and_guest_are_measured_bin_for_bin_the_same_beside_a_load(measured: tuple[Path, Path]) -> None:
    assert_the_same(*measured)


def test_every_cell_was_measured_sealed_in_the_state_that_it_asks_for(records: list[Record]) -> None:
    assert len(records) == 4
    for record in records:
        assert record.status.status == "done", record.status.reason
        assert record.system["sealed"]["answer"]
        assert record.system["board"]["isolated_cpus"] == "1"
        assert record.system["board"]["guest_running"] == ("yes" if record.cell.place == "guest" else "no")
        if record.cell.place == "guest":
            assert record.system["board"]["kvm_held_by_qemu"] == "yes"


def test_the_page_says_which_way_each_number_came(measured: tuple[Path, Path]) -> None:
    page = (measured[0] / "sealed" / "report" / "index.html").read_text()
    assert "measured on sealed machines" in page
    assert "all sealed" in page


def test_no_machine_is_left(measured: tuple[Path, Path]) -> None:
    assert sealed_machines("virtual-cb2") == []


@pytest.mark.slow(exercises=["roles/sealed_board", "rtvirt_runner/cli/capsule.py", "rtvirt_runner/machine"])
@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_a_capsule_gives_the_same_sums_to_another_user_in_an_empty_folder(measured: tuple[Path, Path]) -> None:
    with TemporaryDirectory() as place:  # pytest's own folders are for one user
        archive = Path(place) / "capsule.tar.gz"
        said = run([SCRIPTS / "rtvirt", "capsule", str(measured[0]), "--output", str(archive)])
        assert "status 0" in said, said
        there = Path(place) / "there"
        there.mkdir()
        for path in (Path(place), there):
            path.chmod(0o777)
        anybody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]
        given = {"PATH": os.defpath, "TMPDIR": str(there)}
        subprocess.run([*anybody, "tar", "-xzf", archive, "-C", there], env=given, check=True)
        count_boot("sealed")
        command = [*anybody, there / "sealed-capsule" / "run", "--keep", there / "kept"]
        ended = subprocess.run(command, cwd=there, env=given, capture_output=True, text=True, timeout=LIMIT_S)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "4 cells: 4 same, 0 DIFFERENT" in ended.stdout
        assert len(list(there.glob("kept/*/cyclictest.json"))) == 4
        assert sorted(path.name for path in there.iterdir()) == ["kept", "sealed-capsule"]


@pytest.mark.slow(
    exercises=["roles/sealed_board", "roles/measure", "roles/workloads", "rtvirt_runner/machine", "playbooks/vars"]
)
def test_every_workload_is_measured_the_same_beside_a_load(tmp_path: Path) -> None:
    assert_the_same(*twice(MATRIX.with_name("sealed_workloads.yml"), tmp_path))


@pytest.mark.slow(
    exercises=["roles/sealed_board", "roles/measure", "roles/guest", "rtvirt_runner/machine", "playbooks/vars"]
)
def test_the_first_matrix_is_the_same_beside_a_load(tmp_path: Path) -> None:
    assert_the_same(*twice(collection.matrix_path("first"), tmp_path))


@pytest.mark.slow(
    exercises=[
        "rtvirt_runner/cli/compare.py",
        "rtvirt_runner/cli/compare_sets.py",
        "rtvirt_runner/analysis/exact.py",
        "rtvirt_runner/machine",
        "roles/measure/files/measure_cell.sh",  # both are changed here
        "playbooks/vars/tunings.yml",
    ]
)
def test_between_commits_a_comment_changes_no_bin_and_a_setting_changes_the_guest(tmp_path: Path) -> None:
    clone = tmp_path / "rtvirt"
    subprocess.run(["git", "clone", "--quiet", collection.ROOT, clone], check=True)

    def commit(path: str, before: str, after: str) -> None:
        text = (clone / path).read_text()
        assert text.count(before) == 1
        (clone / path).write_text(text.replace(before, after))
        git = ["git", "-C", clone, "-c", "user.name=test", "-c", "user.email=test@localhost"]
        subprocess.run([*git, "commit", "--quiet", "--all", "--message", path], check=True)

    def since_the_last() -> list[dict[str, Any]]:
        count_boot("sealed")
        command = [clone / "rtvirt", "compare", "--exact", "--json", "--since", "HEAD~1", "--matrix", str(MATRIX)]
        done = subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=3600)
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        assert len(rows) == 4
        return rows

    commit("roles/measure/files/measure_cell.sh", "\ntrap finish EXIT\n", "\n# A comment.\ntrap finish EXIT\n")
    assert {row["verdict"] for row in since_the_last()} == {"same"}

    commit("playbooks/vars/tunings.yml", "      qemu_process: {policy: rr, priority: 99}\n", "")
    for row in since_the_last():
        if "_guest_" in row["cell_id"]:
            assert row["verdict"] == "changed"
            assert row["moved"] > 0
            assert "guest_state" in row["inputs"]
