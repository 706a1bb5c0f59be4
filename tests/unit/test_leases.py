"""Who uses what in the cache: for as long as a process lives, and no longer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtvirt_runner.build import leases
from rtvirt_runner.build.leases import Process


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with one thing in it."""
    (tmp_path / "artifacts" / "thing").mkdir(parents=True)
    (tmp_path / "artifacts" / "thing" / "whole").touch()
    return tmp_path


def hold(cache: Path) -> bool:
    thing = cache / "artifacts" / "thing"
    return leases.hold(cache, thing, thing / "whole")


def test_what_is_held_is_known_with_its_holder(cache: Path) -> None:
    assert hold(cache)
    assert leases.holders(cache) == {cache / "artifacts" / "thing": [Process.of_this_run()]}


def test_what_is_not_whole_cannot_be_held(cache: Path) -> None:
    (cache / "artifacts" / "thing" / "whole").unlink()
    assert not hold(cache)
    assert leases.holders(cache) == {}


def test_a_number_that_came_back_is_not_the_process_that_had_it(cache: Path) -> None:
    hold(cache)
    (lease,) = (cache / "leases" / "artifacts" / "thing").iterdir()
    this = Process.of_this_run()
    lease.rename(lease.with_name(Process(this.pid, this.started_ticks - 1, this.place).name))
    assert leases.holders(cache) == {}
    leases.sweep(cache)
    assert list((cache / "leases" / "artifacts").iterdir()) == []


def test_a_process_that_ended_counts_nothing_even_before_it_is_reaped() -> None:
    with subprocess.Popen(["sh", "-c", "read line"], stdin=subprocess.PIPE) as process:
        seen = Process.of(process.pid)
        assert seen and Process.of(process.pid) == seen
        process.kill()
        # Waits for the end and leaves the zombie.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{process.pid}").exists()
        assert Process.of(process.pid) is None


def test_a_name_with_spaces_and_parentheses_is_read_over(tmp_path: Path) -> None:
    program = tmp_path / "a) b (c"
    program.symlink_to("/bin/cat")
    with subprocess.Popen([program], stdin=subprocess.PIPE) as process:
        seen = Process.of(process.pid)
        assert seen and seen.started_ticks >= Process.of_this_run().started_ticks
        process.communicate()


def test_a_worker_leases_for_the_run_that_forked_it(cache: Path) -> None:
    run = (
        "import multiprocessing, os, sys; from pathlib import Path; from rtvirt_runner.build import leases\n"
        "cache = Path(sys.argv[1]); thing = cache / 'artifacts/thing'\n"
        "fork = multiprocessing.get_context('fork')\n"
        "worker = fork.Process(target=leases.hold, args=(cache, thing, thing / 'whole'))\n"
        "worker.start(); worker.join()\n"
        "print(os.getpid(), flush=True); sys.stdin.read()\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", run, cache], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        assert [holder.pid for holder in leases.holders(cache)[cache / "artifacts" / "thing"]] == [process.pid]
        process.communicate()
    assert leases.holders(cache) == {}


def test_leases_of_runs_that_ended_do_not_pile_up(cache: Path) -> None:
    for _ in range(3):
        run = "import sys; from pathlib import Path; from rtvirt_runner.build import leases; t = Path(sys.argv[1])\n"
        run += "assert leases.hold(t, t / 'artifacts/thing', t / 'artifacts/thing/whole')"
        subprocess.run([sys.executable, "-c", run, cache], check=True)
    assert len(list((cache / "leases" / "artifacts" / "thing").iterdir())) == 1
