"""``rtvirt test``: every check that CI runs, in tiers from quick to slow."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table

from rtvirt_runner import checkout
from rtvirt_runner.progress import duration

SILENCE_S = 30.0
INTERRUPTED_LIMIT_S = 120.0
# On machines that no other test uses.
APART = tuple(
    f"tests/machines/test_{name}.py"
    for name in (
        "card_images",
        "grub",
        "pc_image",
        "armhf_kernel",
        "guest_armhf",
        "reprovision",
        "determinism",
        "workloads",
    )
)
_UNSEARCHED = {".git", ".venv", ".cache", ".ansible", "collections", "results"}


@dataclass(frozen=True)
class Count:
    """How many checks passed and failed."""

    passed: int = 0
    failed: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.passed + other.passed, self.failed + other.failed)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed"


@dataclass(frozen=True)
class Check:
    """One command, and how its outcome (exit code in, count out) is counted; by default it is one check."""

    name: str
    command: Sequence[str]
    count: Callable[[int], Count] = lambda code: Count(1, 0) if code == 0 else Count(0, 1)
    environment: Mapping[str, str] = field(default_factory=dict)
    transcript: Path | None = None  # where to keep the output too, for ``count``


Lanes = Sequence[Sequence[Check]]  # run side by side
Tier = Callable[[Path], Iterator[Lanes]]  # takes a scratch folder


def lint(scratch: Path) -> Iterator[Lanes]:
    """Whether the sources are in the form that we agreed on."""
    quick = [
        Check("ruff check", ["ruff", "check", "."]),
        Check("ruff format", ["ruff", "format", "--check", "."]),
        Check("mypy", ["mypy"]),
        Check("yamllint", ["yamllint", "--strict", "."]),
        Check("shellcheck", ["shellcheck", *map(str, shell_files(checkout.ROOT))]),
    ]
    yield [quick, [Check("ansible-lint", ["ansible-lint", "--strict"])]]


def unit(scratch: Path) -> Iterator[Lanes]:
    """Pure Python: seconds."""
    yield [[_pytest("unit", scratch)]]


def integration(scratch: Path) -> Iterator[Lanes]:
    """Ansible, the plugins and the bootstrap, on this machine only."""
    yield [[_pytest("integration", scratch)]]


def machines(scratch: Path) -> Iterator[Lanes]:
    """The smoke matrix on the virtual lab, what it left behind, then the roles one by one.

    An emulated board keeps one core busy, so there are two lanes, each with boards of its own.
    """
    results = scratch / "results"
    yield [[Check("rtvirt matrix", ["rtvirt", "matrix", "--results", str(results)])]]
    environment = {"RTVIRT_TEST_RESULTS": str(results)}
    # Kernels that hang are told by a board's clock, which races on an overloaded machine: nothing runs beside these.
    alone = ["tests/machines/test_bad_kernels.py"]
    yield [[_pytest("bad kernels", scratch, environment, alone)]]
    others = ["tests/machines", *(f"--ignore={path}" for path in [*alone, *APART])]
    yield [
        [_pytest("machines", scratch, environment, others), _molecule(scratch)],
        [_pytest("machines apart", scratch, environment, APART)],
    ]


TIERS: Mapping[str, Tier] = {tier.__name__: tier for tier in (lint, unit, integration, machines)}


def run_tiers(names: Sequence[str] | None = None) -> int:
    """Run tiers (all by default) in order, each whatever became of the one before; returns the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows: list[tuple[str, float, Count]] = []
    for name in [name for name in TIERS if not names or name in names]:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="rtvirt-test-") as scratch:
            count = sum((run_side_by_side(step) for step in TIERS[name](Path(scratch))), Count())
        rows.append((name, time.monotonic() - began, count))
    total = sum((count for _, _, count in rows), Count())
    _show_tiers(rows)
    print(total, flush=True)
    return 1 if total.failed or not total.passed else 0


def run_check(check: Check) -> Count:
    """Run one command in the checkout, letting its output through."""
    return run_side_by_side([[check]])


def run_side_by_side(lanes: Sequence[Sequence[Check]]) -> Count:
    """Run lanes at once, the checks of each one after the other; the output of a check comes when it has ended.

    A lane alone lets its output through as it comes.
    """
    with tempfile.TemporaryDirectory(prefix="rtvirt-checks-") as scratch:
        return _Run(lanes, Path(scratch)).finish()


class _Run:
    """Lanes on their way."""

    def __init__(self, lanes: Sequence[Sequence[Check]], scratch: Path) -> None:
        self._waiting = [list(lane) for lane in lanes]
        self._scratch = scratch
        self._alone = len(lanes) == 1
        self._running: list[_Process] = []
        self._count = Count()
        self._selector = selectors.DefaultSelector()

    def finish(self) -> Count:
        """Run all of them; after a silence say what still runs."""
        try:
            for lane in range(len(self._waiting)):
                self._start_next(lane)
            said = time.monotonic()
            while self._running:
                ready = self._selector.select(max(0.0, said + SILENCE_S - time.monotonic()))
                passed_on = [self._read(key.data) for key, _ in ready]
                if any(passed_on):
                    said = time.monotonic()
                elif time.monotonic() - said >= SILENCE_S:
                    said = time.monotonic()
                    for each in self._running:
                        print(f"... {each.check.name} is running for {duration(said - each.began)}", flush=True)
        except KeyboardInterrupt:
            for each in self._running:
                each.process.send_signal(signal.SIGINT)  # it may have boards to stop
            for each in self._running:
                each.process.wait(INTERRUPTED_LIMIT_S)
            raise
        finally:
            self._selector.close()
        return self._count

    def _start_next(self, lane: int) -> None:
        while self._waiting[lane]:
            check = self._waiting[lane].pop(0)
            print(f"== {check.name}", flush=True)
            if shutil.which(check.command[0]) is not None:
                output = check.transcript or self._scratch / f"{lane}-{len(self._waiting[lane])}"
                self._running.append(_Process(check, lane, output))
                self._selector.register(self._running[-1].output, selectors.EVENT_READ, self._running[-1])
                return
            what = check.command[0]
            print(f"{what} is not installed; please run: apt-get install -y {what}", flush=True)
            self._count += Count(0, 1)

    def _read(self, each: _Process) -> bool:
        """Take what a check says; returns whether a person was told something."""
        chunk = os.read(each.output.fileno(), 65536)
        each.kept.write(chunk)
        if chunk:
            if self._alone:
                sys.stdout.buffer.write(chunk)
                sys.stdout.flush()
            return self._alone
        self._selector.unregister(each.output)
        self._running.remove(each)
        code = each.process.wait()
        each.kept.close()
        if not self._alone:
            sys.stdout.buffer.write(Path(each.kept.name).read_bytes())
            sys.stdout.flush()
        count = each.check.count(code)
        print(f"== {each.check.name}: {count}", flush=True)
        self._count += count
        self._start_next(each.lane)
        return True


class _Process:
    """A check that runs, and the file that its output is kept in."""

    def __init__(self, check: Check, lane: int, kept: Path) -> None:
        self.check, self.lane, self.began = check, lane, time.monotonic()
        self.kept = kept.open("wb")
        self.process = subprocess.Popen(
            check.command,
            cwd=checkout.ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **check.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout


def shell_files(root: Path) -> list[Path]:
    """Every shell script of a checkout: by its suffix or its first line."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - _UNSEARCHED)
        found += [Path(folder, name).relative_to(root) for name in sorted(names) if _is_shell(Path(folder, name))]
    return found


def _is_shell(path: Path) -> bool:
    if path.suffix == ".sh":
        return True
    if path.suffix or not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.readline(100).rstrip().endswith((b"#!/bin/sh", b"#!/usr/bin/env bash", b"#!/bin/bash"))


def _pytest(
    name: str, scratch: Path, environment: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
) -> Check:
    report = scratch / f"{name}.xml"
    options = [f"--junitxml={report}", "--durations=12"]
    command = [sys.executable, "-m", "pytest", *(arguments or [f"tests/{name}"]), *options]
    return Check(f"pytest: {name}", command, lambda code: pytest_count(report, code), environment or {})


def pytest_count(report: Path, code: int) -> Count:
    """Count pytest's JUnit report; no report, or a bad exit without a failed test, is one failure."""
    if not report.is_file():
        return Count(0, 1)
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    count = sum((_suite_count(suite) for suite in suites), Count())
    return count if code == 0 or count.failed else count + Count(0, 1)


def _suite_count(suite: ElementTree.Element) -> Count:
    tests, failures, errors, skipped = (int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped"))
    return Count(tests - failures - errors - skipped, failures + errors)


def _molecule(scratch: Path) -> Check:
    transcript = scratch / "molecule.txt"
    environment = {
        "ANSIBLE_COLLECTIONS_PATH": str(checkout.ROOT / "collections"),
        # A state of its own: what a killed run left behind says "created" of a board that is gone.
        "MOLECULE_EPHEMERAL_DIRECTORY": str(scratch / "molecule"),
        # The board that the scenarios share ends with this process, however that ends.
        "RTVIRT_OWNER_PID": str(os.getpid()),
    }
    command = ["molecule", "test", "--all", "--report", "--no-command-borders"]
    return Check("molecule", command, lambda code: molecule_count(transcript, code), environment, transcript)


def molecule_count(transcript: Path, code: int) -> Count:
    """Count molecule's recap, which ends at the first scenario that fails; a bad exit without one is one failure."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", transcript.read_text(errors="replace"))
    recap = re.findall(r"^(\w+) *: +actions=[1-9].* failed=(\d+)", text, re.MULTILINE)
    scenarios = [int(failed) for name, failed in recap if name != "default"]  # that one is the shared board itself
    count = Count(scenarios.count(0), len(scenarios) - scenarios.count(0))
    return count if code == 0 or count.failed else count + Count(0, 1)


def _show_tiers(rows: Sequence[tuple[str, float, Count]]) -> None:
    table = Table(title="checks", title_justify="left")
    for heading in ("tier", "seconds", "verdict", "checks"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for name, seconds, count in rows:
        table.add_row(name, f"{seconds:.0f}", "failed" if count.failed else "passed", str(count))
    Console(highlight=False).print(table)
