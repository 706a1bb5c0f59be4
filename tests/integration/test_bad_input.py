"""Bad input through the real command: exit 2, one sentence, at once, and nothing touched."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection

LAB = """\
boards:
  hosts:
    virtual-rpi2: {rtvirt_board_cpus: 4, rtvirt_board_clock: virtual}
    virtual-cb2: {rtvirt_board_cpus: 2, rtvirt_board_clock: virtual}
"""
SMOKE = (collection.VARS / "matrix_smoke.yml").read_text()


def replacing(old: str, new: str) -> str:
    assert old in SMOKE
    return SMOKE.replace(old, new)


BAD_MATRICES = {
    "overlapping core lists": (replacing("guest_cpus: '3'", "guest_cpus: '2-3'"), ("splits.3-1", "overlap")),
    "an unknown workload": (replacing("bitcount, qsort", "bitcuont, qsort"), ("bitcuont", "did you mean 'bitcount'?")),
    "a core the board lacks": (replacing("guest_cpus: '3'", "guest_cpus: '7'"), ("'7'", "0-3")),
    "an unknown group": (
        replacing("board: [virtual-rpi2, virtual-cb2]", "board: [raspberries]"),
        ("raspberries", "virtual-cb2"),
    ),
    "not YAML": ("matrix: [", ("line 1",)),
}


@pytest.fixture
def rtvirt(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    (tmp_path / "lab.yml").write_text(LAB)
    script = Path(sys.executable).parent / "rtvirt"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        options = ["-i", str(tmp_path / "lab.yml"), "--results", str(tmp_path / "results"), *arguments[1:]]
        return subprocess.run([script, arguments[0], *options], capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("command", ["matrix", "plan"])
@pytest.mark.parametrize(("text", "told"), BAD_MATRICES.values(), ids=BAD_MATRICES.keys())
def test_a_bad_matrix(
    command: str,
    text: str,
    told: tuple[str, ...],
    tmp_path: Path,
    rtvirt: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    path = tmp_path / "bad.yml"
    path.write_text(text)
    began = time.monotonic()
    done = rtvirt(command, "--matrix", str(path))
    assert time.monotonic() - began < 5
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("rtvirt: ") and done.stderr.count("\n") == 1
    assert str(path) in done.stderr
    for part in told:
        assert part in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_lab_without_boards(tmp_path: Path, rtvirt: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    empty = tmp_path / "empty.yml"
    empty.write_text("servers: {hosts: {one: }}\n")
    done = rtvirt("matrix", "-i", str(empty))
    assert done.returncode == 2
    assert "no host in group 'boards'" in done.stderr
