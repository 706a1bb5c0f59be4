"""``rtvirt ssh``, ``console`` and ``reset`` with a server that is really there."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from debian_server import started_server
from ssh_board import Board
from test_alone import other_computer

from rtvirt_runner.catalogue import collection
from rtvirt_runner.cli import boards

RTVIRT = [sys.executable, "-c", "import sys; from rtvirt_runner.cli.main import main; sys.exit(main())"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a server of its own namespaces needs root")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    folder = tmp_path_factory.mktemp("server")
    with started_server(folder) as started:
        console = folder / "console.log"
        console.write_text("".join(f"line {number}\n" for number in range(300)))
        hosts = {"server": started.in_lab() | {"rtvirt_board_console": str(console)}}
        (folder / "lab.yml").write_text(yaml.safe_dump({"boards": {"hosts": hosts}}))
        yield started


def rtvirt(server: Board, *words: str, status: int = 0, lab: Path | None = None) -> str:
    """Run the command with the server's lab; returns what it printed."""
    command, *rest = words
    env = {**os.environ, "XDG_CACHE_HOME": str(server.folder / "cache"), "ANSIBLE_HOST_KEY_CHECKING": "0"}
    done = subprocess.run(
        [*RTVIRT, command, "-i", lab or server.folder / "lab.yml", *rest],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_command_runs_on_the_board_with_its_options_and_status(server: Board) -> None:
    assert "rtvirt\n" not in rtvirt(server, "ssh", "server", "ls", "-d", "/home/worker")
    assert "/home/worker\n" in rtvirt(server, "ssh", "server", "ls", "-d", "/home/worker")
    rtvirt(server, "ssh", "server", "exit 7", status=7)


@pytest.mark.parametrize("words", [["inspect"], ["inspect", "--preflight"]])
def test_an_emulated_board_that_does_not_run_is_not_asked(tmp_path: Path, words: list[str]) -> None:
    command = [*RTVIRT, *words, "-i", collection.VIRTUAL_LAB, "virtual-cb2"]
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    pid = tmp_path / "rtvirt" / "boards" / "virtual-cb2" / "pid"
    assert f"virtual-cb2 does not run ({pid} does not exist), expected a board that does; start it with" in done.stderr


def test_the_last_lines_of_a_console_are_shown(server: Board) -> None:
    told = rtvirt(server, "console", "server", "--lines", "2")
    assert "line 298\nline 299\n" in told and "line 297" not in told


def test_a_console_is_followed_over_a_new_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "console.log"
    log.write_text("old 1\nold 2\n")
    monkeypatch.setattr(boards, "_LOOK_S", 0.01)
    lines = boards.last_lines(log, 1, follow=True)
    assert next(lines) == "old 2"
    with log.open("a") as more:
        more.write("old 3\n")
    assert next(lines) == "old 3"
    log.write_text("new\n")
    assert next(lines) == "new"


def test_reset_takes_back_what_is_there_and_with_check_does_not(server: Board) -> None:
    server.sh("mkdir -p /var/lib/rtvirt && touch /var/lib/rtvirt/guest.img")
    began = time.time()
    told = rtvirt(server, "reset", "server", "--check")
    assert "nothing was changed; what would be is in " in told
    assert server.sh("ls /var/lib/rtvirt") == "guest.img\n"
    log = next(path for path in (server.folder / "cache").rglob("run-*.log") if "removed" in path.read_text())
    assert log.stat().st_mtime >= began and "removed /var/lib/rtvirt\n" in log.read_text()
    rtvirt(server, "reset", "server")
    assert server.sh("ls -d /var/lib/rtvirt 2>/dev/null || :") == ""


def test_an_emulated_board_that_another_run_holds_is_not_stopped(server: Board) -> None:
    """Not even one that is kept, whose emulator is no run's."""
    lab, pid_file = server.folder / "emulated.yml", server.folder / "emulator.pid"
    hosts = {"server": server.in_lab() | {"rtvirt_board_pid_file": str(pid_file)}}
    lab.write_text(yaml.safe_dump({"boards": {"children": {"virtual_boards": {"hosts": hosts}}}}))
    pid_file.write_text("1\n")
    other_computer(server, "now + 600")
    told = rtvirt(server, "reset", "server", status=1, lab=lab)
    assert "server is held by ada@" in told and "-e rtvirt_take_over=true" in told
    server.sh("rm /run/rtvirt-lease*")
    rtvirt(server, "reset", "server", lab=lab)


def test_an_emulated_board_that_does_not_answer_is_stopped(server: Board) -> None:
    lab, pid_file = server.folder / "silent.yml", server.folder / "emulator.pid"
    hosts = {"silent": server.in_lab() | {"ansible_port": 1, "rtvirt_board_pid_file": str(pid_file)}}
    lab.write_text(yaml.safe_dump({"boards": {"children": {"virtual_boards": {"hosts": hosts}}}}))
    pid_file.write_text("1\n")
    rtvirt(server, "reset", "silent", lab=lab)
