"""Whether a stopped machine's cores sleep, by what QEMU's monitor says of them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from rtvirt_runner.machine import sleeping

SLEEPS = {
    "registers": " PC=ffff800080f1c4a4 X00=0000000000000000\nPSTATE=600000c9",
    "word": "ffff800080f1c4a0: 0xd503207f\r\n",
}
RUNS = {**SLEEPS, "word": "ffff800080f1c4a0: 0xd65f03c0\r\n"}


@pytest.fixture
def cores() -> list[Mapping[str, str]]:
    return []


@pytest.fixture
def monitor(tmp_path: Path, cores: list[Mapping[str, str]]) -> Iterator[Path]:
    """A monitor that answers for these cores, each question on a connection of its own."""
    path = tmp_path / "qmp.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rw") as stream:
                print('{"QMP": {}}', file=stream, flush=True)
                for line in stream:
                    asked = json.loads(line)
                    said: object = {}
                    if asked["execute"] == "human-monitor-command":
                        core = cores[asked["arguments"]["cpu-index"]]
                        command = asked["arguments"]["command-line"]
                        said = core["registers" if command == "info registers" else "word"]
                        assert command in ("info registers", "x /1wx 0xffff800080f1c4a0")
                    print(json.dumps({"return": said}), file=stream, flush=True)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield path
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_all_cores_sleep_or_the_first_that_does_not_is_named(
    monitor: Path, cores: list[Mapping[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    cores += [SLEEPS, SLEEPS, RUNS]
    assert sleeping.main([str(monitor), "2"]) == 0
    assert capsys.readouterr().out == ""
    assert sleeping.main([str(monitor), "3"]) == 1
    assert "Core 2 of the machine does not sleep" in capsys.readouterr().out


def test_a_core_whose_code_cannot_be_read_is_not_asleep(monitor: Path, cores: list[Mapping[str, str]]) -> None:
    cores.append({**SLEEPS, "word": "Cannot access memory"})
    assert sleeping.main([str(monitor), "1"]) == 1


def test_an_answer_that_is_not_understood(
    monitor: Path, cores: list[Mapping[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    cores.append({**SLEEPS, "registers": "No such CPU"})
    assert sleeping.main([str(monitor), "1"]) == 2
    assert capsys.readouterr().out == "!! QEMU says nothing of core 0's PC: No such CPU.\n"


def test_a_monitor_that_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sleeping.main([str(tmp_path / "none"), "1"]) == 2
    assert "QEMU does not answer" in capsys.readouterr().out
