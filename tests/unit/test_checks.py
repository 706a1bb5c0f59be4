"""How ``rtvirt test`` finds, runs and counts checks."""

import sys
import tempfile
from pathlib import Path

import pytest

from rtvirt_runner import checks
from rtvirt_runner.checks import Check, Count, molecule_count, pytest_count, run_check, run_side_by_side, shell_files

REPORT = '<testsuites><testsuite tests="5" failures="{failures}" errors="0" skipped="1"/></testsuites>'
RECAP = """
\x1b[1m\x1b[4mSCENARIO RECAP                  \x1b[0m
\x1b[32mdefault                   \x1b[0m: \x1b[33mactions=1\x1b[0m  \x1b[32msuccessful=1\x1b[0m  disabled=0  failed=0
\x1b[32mkernel_build              \x1b[0m: \x1b[33mactions=3\x1b[0m  \x1b[32msuccessful=3\x1b[0m  disabled=0  failed=0
\x1b[32mboard_image               \x1b[0m: \x1b[33mactions=3\x1b[0m  disabled=0  \x1b[31mfailed={failed}\x1b[0m
"""


def test_pytest_is_counted_from_its_report(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT.format(failures=2))
    assert pytest_count(report, 1) == Count(2, 2)


def test_a_bad_exit_without_a_failed_test_is_a_failure(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT.format(failures=0))
    assert pytest_count(report, 0) == Count(4, 0)
    assert pytest_count(report, 3) == Count(4, 1)
    assert pytest_count(tmp_path / "none.xml", 0) == Count(0, 1)


def test_molecule_is_counted_from_its_recap(tmp_path: Path) -> None:
    transcript = tmp_path / "molecule.txt"
    transcript.write_text(RECAP.format(failed=1))
    assert molecule_count(transcript, 2) == Count(1, 1)
    transcript.write_text(RECAP.format(failed=0))
    assert molecule_count(transcript, 0) == Count(2, 0)
    assert molecule_count(transcript, 2) == Count(2, 1)
    transcript.write_text("CRITICAL the board did not come up")
    assert molecule_count(transcript, 1) == Count(0, 1)


def test_a_transcript_keeps_what_is_passed_on(tmp_path: Path) -> None:
    transcript = tmp_path / "output.txt"
    run_check(Check("greeting", [sys.executable, "-c", "print('hello')"], transcript=transcript))
    assert transcript.read_text() == "hello\n"


def test_shell_files_are_found_by_suffix_and_by_first_line(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "script.sh").write_text("true\n")
    (tmp_path / "other").write_text("#!/usr/bin/env python3\n")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "activate.sh").write_text("#!/bin/sh\n")
    assert shell_files(tmp_path) == [Path("script.sh"), Path("tool")]


def test_output_is_passed_on_and_silence_broken(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(checks, "SILENCE_S", 0.05)
    code = "import time; time.sleep(0.3); print('hello')"
    assert run_check(Check("greeting", [sys.executable, "-c", code])) == Count(1, 0)
    told = capfdbinary.readouterr().out
    assert b"... greeting is running for" in told
    assert b"hello\n" in told


def test_lanes_run_side_by_side_and_tell_one_after_the_other(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    meet = "import pathlib, time\nhere, there = map(pathlib.Path, {paths})\nprint('{name} begins')\nhere.touch()\n"
    meet += "while not there.exists(): time.sleep(0.01)\nprint('{name} ends')"
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/a", f"{folder}/b"]
        pair = [
            [Check(name, [sys.executable, "-c", meet.format(name=name, paths=order)])]
            for name, order in (("a", paths), ("b", paths[::-1]))
        ]
        last = Check("c", [sys.executable, "-c", "exit(1)"])
        assert run_side_by_side([[*pair[0], last], pair[1]]) == Count(2, 1)
    told = capfdbinary.readouterr().out
    for name in (b"a", b"b"):
        assert name + b" begins\n" + name + b" ends\n== " + name + b": 1 passed" in told


def test_a_missing_tool_fails_with_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check(Check("no such tool", ["rtvirt-no-such-tool"])) == Count(0, 1)
    assert "apt-get install -y rtvirt-no-such-tool" in capsys.readouterr().out


def test_the_last_line_counts_all(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = (Check(name, [sys.executable, "-c", f"exit({code})"]) for name, code in (("good", 0), ("bad", 1)))
    monkeypatch.setattr(
        checks, "TIERS", {"one": lambda scratch: iter([[[good], [bad]]]), "two": lambda scratch: iter([[[good]]])}
    )
    assert checks.run_tiers() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 passed, 1 failed"
    assert checks.run_tiers(["two"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 0 failed"
