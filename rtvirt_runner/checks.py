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
from typing import IO
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table

from rtvirt_runner import checkout
from rtvirt_runner.progress import duration

SILENCE_S = 30.0
INTERRUPTED_LIMIT_S = 120.0
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


Tier = Callable[[Path], Iterator[Check]]  # takes a scratch folder


def lint(scratch: Path) -> Iterator[Check]:
    """Whether the sources are in the form that we agreed on."""
    yield Check("ruff check", ["ruff", "check", "."])
    yield Check("ruff format", ["ruff", "format", "--check", "."])
    yield Check("mypy", ["mypy"])
    yield Check("yamllint", ["yamllint", "--strict", "."])
    yield Check("ansible-lint", ["ansible-lint", "--strict"])
    yield Check("shellcheck", ["shellcheck", *map(str, shell_files(checkout.ROOT))])


def unit(scratch: Path) -> Iterator[Check]:
    """Pure Python: seconds."""
    yield _pytest("unit", scratch)


def integration(scratch: Path) -> Iterator[Check]:
    """Ansible, the plugins and the bootstrap, on this machine only."""
    yield _pytest("integration", scratch)


def machines(scratch: Path) -> Iterator[Check]:
    """The smoke matrix on the virtual lab, what it left behind, then the roles one by one."""
    results = scratch / "results"
    yield Check("rtvirt matrix", ["rtvirt", "matrix", "--results", str(results)])
    yield _pytest("machines", scratch, {"RTVIRT_TEST_RESULTS": str(results)})
    yield _molecule(scratch)


TIERS: Mapping[str, Tier] = {tier.__name__: tier for tier in (lint, unit, integration, machines)}


def run_tiers(names: Sequence[str] | None = None) -> int:
    """Run tiers (all by default) in order, each whatever became of the one before; returns the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows: list[tuple[str, float, Count]] = []
    for name in [name for name in TIERS if not names or name in names]:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="rtvirt-test-") as scratch:
            count = sum((run_check(check) for check in TIERS[name](Path(scratch))), Count())
        rows.append((name, time.monotonic() - began, count))
    total = sum((count for _, _, count in rows), Count())
    _show_tiers(rows)
    print(total, flush=True)
    return 1 if total.failed or not total.passed else 0


def run_check(check: Check) -> Count:
    """Run one command in the checkout, letting its output through."""
    print(f"== {check.name}", flush=True)
    if shutil.which(check.command[0]) is None:
        print(f"{check.command[0]} is not installed; please run: apt-get install -y {check.command[0]}", flush=True)
        return Count(0, 1)
    count = check.count(_stream(check))
    print(f"== {check.name}: {count}", flush=True)
    return count


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


def _pytest(tier: str, scratch: Path, environment: Mapping[str, str] | None = None) -> Check:
    report = scratch / f"{tier}.xml"
    command = [sys.executable, "-m", "pytest", f"tests/{tier}", f"--junitxml={report}"]
    return Check(f"pytest tests/{tier}", command, lambda code: pytest_count(report, code), environment or {})


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


def _stream(check: Check) -> int:
    process = subprocess.Popen(
        check.command,
        cwd=checkout.ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **check.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        with Path(check.transcript or os.devnull).open("wb") as transcript:
            _pass_on(process.stdout, check.name, transcript)
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)  # it may have boards to stop
        process.wait(INTERRUPTED_LIMIT_S)
        raise


def _pass_on(output: IO[bytes], name: str, transcript: IO[bytes]) -> None:
    """Copy output as it comes; after a silence say that the check still runs."""
    began = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while True:
            if not selector.select(SILENCE_S):
                print(f"... {name} is running for {duration(time.monotonic() - began)}", flush=True)
                continue
            chunk = os.read(output.fileno(), 65536)
            if not chunk:
                return
            sys.stdout.buffer.write(chunk)
            sys.stdout.flush()
            transcript.write(chunk)


def _show_tiers(rows: Sequence[tuple[str, float, Count]]) -> None:
    table = Table(title="checks", title_justify="left")
    for heading in ("tier", "seconds", "verdict", "checks"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for name, seconds, count in rows:
        table.add_row(name, f"{seconds:.0f}", "failed" if count.failed else "passed", str(count))
    Console(highlight=False).print(table)
