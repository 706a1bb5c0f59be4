"""Bad input through the real command: exit 2, one sentence, at once, and nothing touched."""

import os
import shutil
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
  vars: {rtvirt_board_kernels: {rt: debian-rt, with-rt: linux-6.12-rt, without-rt: linux-6.12}}
guests: {hosts: {virtual-rpi2-guest: , virtual-cb2-guest: }}
rpi2: {hosts: {virtual-rpi2: }}
cb2: {hosts: {virtual-cb2: }}
"""
LIMIT_S = 60  # two seconds on a quiet machine; emulated boards may run beside this
SMOKE = (collection.VARS / "matrix_smoke.yml").read_text()


def replacing(old: str, new: str) -> str:
    assert old in SMOKE
    return SMOKE.replace(old, new)


BAD_MATRICES = {
    "overlapping core lists": (replacing("guest_cpus: '3'", "guest_cpus: '2-3'"), ("splits.3-1", "overlap")),
    "an unknown workload": (replacing("bitcount, qsort", "bitcuont, qsort"), ("bitcuont", "did you mean 'bitcount'?")),
    "a core the board lacks": (replacing("guest_cpus: '3'", "guest_cpus: '7'"), ("'7'", "0-3")),
    "an unknown group": (
        replacing("board: [rpi2, cb2]", "board: [raspberries]"),
        ("raspberries", "virtual-cb2"),
    ),
    "not YAML": ("matrix: [", ("line 1",)),
    "an empty file": ("", ("is empty", "key 'matrix'")),
    "a date as a name": (replacing("name: smoke", "name: 2024-01-01"), ("name: 2024-01-01 is not a name", "quote")),
    "a date that is none": (replacing("name: smoke", "name: 2024-13-45"), ("line ", "month must be in 1..12")),
    "Jinja": (replacing("name: smoke", "name: smoke\n  repetitions: {{ n }}"), ("key 'repetitions'", "{{ }}")),
    "3000 brackets": (f"matrix: {'[' * 3000}", ("key 'matrix'", "nested more than 50 levels")),
    "a recursive alias": ("matrix: &a {name: *a}", ("key 'name'", "'*a'")),
    "aliases of aliases": (
        "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30)),
        ("key 'a5'", "more than 50000 values"),
    ),
}
BAD_LABS = {
    "no such guest kernel": (
        LAB.replace("rtvirt_board_cpus: 2", "rtvirt_board_cpus: 2, guest_kernel: linux-9"),
        ("guest_kernel of board 'virtual-cb2'", "unknown kernel 'linux-9'", "linux-6.12"),
    ),
    "a board of another architecture": (
        LAB.replace("rtvirt_board_cpus: 2", "rtvirt_board_cpus: 2, board_image_profile: cubieboard2"),
        ("kernel 'linux-6.12-rt' is for arm64", "board 'virtual-cb2' is of armhf", "expected a kernel for that"),
    ),
    "no guest host": (
        LAB.replace("virtual-cb2-guest", "virtual-cb1-guest"),
        ("board 'virtual-cb2'", "no host 'virtual-cb2-guest'", "group 'guests'"),
    ),
}
BAD_CATALOGUES = {
    "a misspelt key of a kernel": ("kernels.yml", "patches: [{", "patchs: [{", ("patchs", "did you mean 'patches'?")),
    "a misspelt key of a guest": ("guests.yml", "memory_mib:", "memory:", ("unknown key 'memory'", "memory_mib")),
    "a misspelt key of a neighbour": (
        "neighbours.yml",
        "cores: host",
        "core: host",
        ("'core'", "did you mean 'cores'?"),
    ),
    "a neighbour's load that is none": (
        "neighbours.yml",
        "load: [bitcount]",
        "load: [bitcuont]",
        ("did you mean 'bitcount'?",),
    ),
    "a misspelt key of a workload": ("workloads.yml", " command:", " comand:", ("comand", "did you mean 'command'?")),
    "a flag that is none": (
        "kernels.yml",
        "    objects: 1500",
        "    isolcpus_flags: 1",
        ("isolcpus_flags is 1", "true"),
    ),
    "an empty file": ("kernels.yml", "", "", ("is empty", "key 'kernels'")),
    "3000 brackets": ("tunings.yml", "tunings:", f"tunings: {'[' * 3000}", ("key 'tunings'", "nested more than 50")),
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
    assert time.monotonic() - began < LIMIT_S
    refused(done, (str(path), *told))
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("command", ["matrix", "plan"])
@pytest.mark.parametrize(("text", "told"), BAD_LABS.values(), ids=BAD_LABS.keys())
def test_a_lab_that_does_not_fit(
    command: str,
    text: str,
    told: tuple[str, ...],
    tmp_path: Path,
    rtvirt: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    (tmp_path / "other.yml").write_text(text)
    refused(rtvirt(command, "--matrix", "smoke", "-i", str(tmp_path / "other.yml")), told)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("name", "old", "new", "told"), BAD_CATALOGUES.values(), ids=BAD_CATALOGUES.keys())
def test_a_bad_catalogue(name: str, old: str, new: str, told: tuple[str, ...], tmp_path: Path) -> None:
    """In a copy of the checkout, since the catalogue is part of it."""
    for folder in ("rtvirt_runner", "playbooks", "roles/board_image/profiles"):
        shutil.copytree(collection.ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(collection.ANSIBLE_CONFIG, tmp_path)
    (tmp_path / "lab.yml").write_text(LAB)
    path = tmp_path / "playbooks" / "vars" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1) if old else "")
    done = subprocess.run(
        [Path(sys.executable).parent / "rtvirt", "plan", "--matrix", "smoke", "-i", "lab.yml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    refused(done, (str(path), *told))


def refused(done: subprocess.CompletedProcess[str], told: tuple[str, ...]) -> None:
    """Exit status 2, and one sentence that has all that is to be told."""
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("rtvirt: ") and done.stderr.count("\n") == 1
    for part in told:
        assert part in done.stderr


def test_a_cache_that_cannot_be(
    tmp_path: Path, rtvirt: Callable[..., subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc")
    refused(rtvirt("matrix"), ("/proc/rtvirt: No such file or directory, expected it to be usable",))
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("variable", ["LC_ALL=C", "LC_ALL=xx_YY.UTF-8", "LANG=xx_YY.ISO-8859-1", "LC_CTYPE=UTF-8"])
def test_the_locale_of_another_machine_is_no_bad_input(
    variable: str, rtvirt: Callable[..., subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ssh brings it; Ansible alone would not start in most of these."""
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(*variable.split("="))
    done = rtvirt("plan")
    assert done.returncode == 0, done.stderr
    assert "20 cells" in done.stdout


def test_a_lab_without_boards(tmp_path: Path, rtvirt: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    empty = tmp_path / "empty.yml"
    empty.write_text("servers: {hosts: {one: }}\n")
    done = rtvirt("matrix", "-i", str(empty))
    assert done.returncode == 2
    assert "no host in group 'boards'" in done.stderr
