"""What stands between Ansible and ssh: limits in size and time, and a standard input that ends with the connection."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from rtvirt_runner.machine import relay


def start(limit_bytes: int, limit_s: float, source: str, *command: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-I", "-S", relay.__file__, str(limit_bytes), str(limit_s), source, *command]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(limit_bytes: int, limit_s: float, source: str, *command: str, data: bytes = b"") -> tuple[int, bytes, str]:
    process = start(limit_bytes, limit_s, source, *command)
    output, errors = process.communicate(data, timeout=60)
    return process.returncode, output, errors.decode()


def test_bytes_and_status_come_through() -> None:
    data = bytes(range(256)) * 20_000
    assert run(1 << 30, 60, "copy", "cat", data=data) == (0, data, "")
    assert run(1 << 20, 60, "copy", "sh", "-c", "echo said >&2; exit 3") == (3, b"", "said\n")


def test_an_answer_that_is_too_long_ends_the_command() -> None:
    status, output, said = run(1 << 20, 60, "hold", "head", "-c", "1G", "/dev/zero")
    assert (status, said) == (relay.TOO_MUCH, "rtvirt: the answer has more than 1 MiB, so the connection was ended\n")
    assert len(output) <= 1 << 20


def test_a_command_that_does_not_end_is_ended() -> None:
    status, _, said = run(1 << 20, 1, "hold", "sleep", "1000")
    assert (status, said) == (relay.TOO_LATE, "rtvirt: the command did not end within 1 s and was ended\n")


def test_standard_error_has_a_limit_too() -> None:
    _, _, said = run(1 << 20, 60, "hold", "sh", "-c", "head -c 20M /dev/zero | tr '\\0' a >&2")
    assert len(said) == relay.ERRORS_BYTES


def test_a_held_input_ends_with_the_relay_and_not_before(tmp_path: Path) -> None:
    script = "while read -r line; do echo $line; done; echo ended >told"
    process = start(1 << 20, 60, "hold", "sh", "-c", f"cd {tmp_path}; {script}")
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"one\n")
    process.stdin.close()
    assert process.stdout.readline() == b"one\n"
    time.sleep(0.3)
    assert not (tmp_path / "told").exists()
    process.stdout.close()  # whoever asked is gone
    process.wait(timeout=30)
    assert (tmp_path / "told").read_text() == "ended\n"


def test_a_command_that_reads_nothing_gets_nothing() -> None:
    assert run(1 << 20, 60, "copy", "true", data=b"x" * (1 << 20))[0] == 0
