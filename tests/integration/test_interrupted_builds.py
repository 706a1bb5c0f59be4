"""Builds end with whoever started them, and what is left of one is never taken for an artifact."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rtvirt_runner.build import artifacts, leases
from rtvirt_runner.build.artifacts import Recipe
from rtvirt_runner.catalogue import collection

pytestmark = pytest.mark.splittable

PARTS = 30
# Every part is written by a process of its own in a session of its own. While the file that WORD names is there, the
# build never ends.
SCRIPT = f"""\
set -e
if [ -e "$WORD" ]; then
  setsid sh -c 'trap "" TERM; while :; do echo more >>"$1/parts"; sleep 0.01; done' "$WORD" "$OUT" &
  exec sh -c 'sleep 1000' "$WORD"
fi
for part in $(seq {PARTS}); do
  setsid sh -c 'sleep 0.01; echo "part $1 of '"$OUT"'" >>"$2/parts"' "$WORD" "$part" "$OUT" &
  wait $!
done
"""
BUILDER = """\
import sys
from pathlib import Path
from rtvirt_runner.build.artifacts import Recipe, build
cache, script, word = map(Path, sys.argv[1:])
print(build(Recipe("thing", script, inputs={"WORD": str(word)}), cache, lambda line: None).path, flush=True)
"""


def recipe(tmp_path: Path, script: str = SCRIPT, endless: bool = False) -> Recipe:
    """A recipe whose processes have a word on their command line that no other process has."""
    path = tmp_path / "build.sh"
    path.write_text(script)
    (tmp_path / "word").unlink(missing_ok=True)
    if endless:
        (tmp_path / "word").touch()
    return Recipe("thing", path, inputs={"WORD": str(tmp_path / "word")})


def start_build(tmp_path: Path, *before: str) -> subprocess.Popen[str]:
    """Build the recipe of a folder in a process of its own, which prints the artifact's path."""
    command = [*before, sys.executable, "-c", BUILDER, tmp_path / "cache", tmp_path / "build.sh", tmp_path / "word"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def processes(text: str) -> list[int]:
    """Processes with a text on their command line or in their environment, other than this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
            if text.encode() in words and int(path.name) != os.getpid():
                found.append(int(path.name))
        except OSError:  # it has ended
            continue
    return found


def wait_until(condition: Callable[[], object], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def parts_written(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "artifacts").glob(".partial-*/parts"))


def assert_whole(path: Path) -> None:
    """All parts are there, once each and in order, all from the build whose folder became the artifact."""
    lines = [line.split() for line in (path / "parts").read_text().splitlines()]
    assert [int(line[1]) for line in lines] == list(range(1, PARTS + 1))
    assert len({line[3] for line in lines}) == 1
    assert sorted(file.name for file in path.iterdir()) == ["manifest.json", "parts"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_everything_that_a_build_started_ends_with_its_owner(tmp_path: Path, number: signal.Signals) -> None:
    recipe(tmp_path, endless=True)
    with start_build(tmp_path) as builder:
        wait_until(lambda: parts_written(tmp_path))
        builder.send_signal(number)
        builder.wait(30)
    wait_until(lambda: not processes(str(tmp_path / "word")), limit_s=15)


PLAYBOOK = """\
- name: Build
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Build something
      rtvirt.testbed.artifact:
        name: thing
        script: "{{ playbook_dir }}/build.sh"
        inputs:
          WORD: "{{ playbook_dir }}/word"
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_build_of_a_playbook_ends_with_it_and_the_same_command_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    recipe(tmp_path, endless=True)
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    cache = tmp_path / "cache"
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG), "XDG_CACHE_HOME": str(tmp_path)}
    cache.mkdir()
    (tmp_path / "rtvirt").symlink_to(cache)
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", "play.yml"]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        wait_until(lambda: parts_written(tmp_path))
        run.send_signal(number)
        run.wait(30)
    wait_until(lambda: not processes(str(tmp_path / "word")), limit_s=15)
    recipe(tmp_path)
    subprocess.run(command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, check=True)
    (made,) = (cache / "artifacts").iterdir()
    assert_whole(made)


def test_a_build_past_its_limit_leaves_no_process(tmp_path: Path) -> None:
    slow = recipe(tmp_path, endless=True)
    with pytest.raises(artifacts.BuildError, match="took longer than its limit of 1 s"):
        artifacts.build(Recipe("thing", slow.script, slow.inputs, timeout_s=1), tmp_path / "cache", print)
    assert processes(str(tmp_path / "word")) == []


def test_what_a_build_leaves_running_ends_with_it(tmp_path: Path) -> None:
    left = recipe(tmp_path, 'setsid sh -c "sleep 1000" "$WORD" >/dev/null 2>&1 &\necho >"$OUT/parts"\n')
    artifacts.build(left, tmp_path / "cache", print)
    assert processes(str(tmp_path / "word")) == []


def test_a_process_that_outlives_a_killed_build_writes_to_no_other(tmp_path: Path) -> None:
    """Owner and reaper are killed at once, so that nobody ends what they have started."""
    recipe(tmp_path, endless=True)
    with start_build(tmp_path) as builder:
        wait_until(lambda: parts_written(tmp_path))
        (reaper,) = children(builder.pid)
        os.kill(reaper, signal.SIGSTOP)
        builder.kill()
        os.kill(reaper, signal.SIGKILL)
        builder.wait()
    orphans = processes(str(tmp_path / "word"))
    assert orphans
    try:
        made = artifacts.build(recipe(tmp_path), tmp_path / "cache", print)
        assert_whole(made.path)
    finally:
        kill(orphans)


def test_a_build_whose_reaper_is_killed_fails_and_is_made_again(tmp_path: Path) -> None:
    recipe(tmp_path, endless=True)
    with start_build(tmp_path) as builder:
        wait_until(lambda: parts_written(tmp_path))
        (reaper,) = children(builder.pid)
        os.kill(reaper, signal.SIGKILL)
        assert builder.wait(30) == 1
    kill(processes(str(tmp_path / "word")))  # in a session of its own, and nobody is left who knows it
    assert_whole(artifacts.build(recipe(tmp_path), tmp_path / "cache", print).path)


def kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def tree(pid: int) -> Iterator[int]:
    """A process and all that descend from it."""
    yield pid
    try:
        for child in children(pid):
            yield from tree(child)
    except OSError:
        return


def test_any_process_of_a_build_killed_at_any_time_costs_no_more_than_another_build(tmp_path: Path) -> None:
    """Builders are started two at a time, and any process of any of them is killed, for some seconds."""
    recipe(tmp_path)
    chance = random.Random(14)
    ended_early = 0
    until = time.monotonic() + 12
    while time.monotonic() < until:
        builders = [start_build(tmp_path), start_build(tmp_path)]
        for builder in builders:
            time.sleep(chance.uniform(0, 0.8))
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(list(tree(builder.pid))), chance.choice([signal.SIGKILL, signal.SIGTERM]))
        answers = [builder.communicate(timeout=60)[0] for builder in builders]
        ended_early += sum(builder.returncode != 0 for builder in builders)
        for builder, said in zip(builders, answers, strict=True):
            if builder.returncode == 0:
                assert_whole(Path(said.strip()))
        for made in (tmp_path / "cache" / "artifacts").glob("thing-*"):
            artifacts.remove(made)
    assert ended_early
    assert_whole(artifacts.build(recipe(tmp_path), tmp_path / "cache", print).path)
    left = {path.name for path in (tmp_path / "cache" / "artifacts").iterdir() if path.name.startswith(".")}
    assert left == set()


def test_an_artifact_whose_manifest_was_lost_is_made_again(tmp_path: Path) -> None:
    made = artifacts.build(recipe(tmp_path), tmp_path / "cache", print)
    for damage in ("", "{}", "[]", '{"seconds": "x"}'):
        (made.path / "manifest.json").write_text(damage)
        again = artifacts.build(recipe(tmp_path), tmp_path / "cache", print)
        assert again.built and again.path == made.path
        assert_whole(again.path)


# ----------------------------------------------------------------------------------------- other pid namespaces

ELSEWHERE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
HOLDER = """\
import sys
from pathlib import Path
from rtvirt_runner.build import leases
cache = Path(sys.argv[1])
assert leases.hold(cache, cache / "artifacts/thing", cache / "artifacts/thing/whole")
print("held", flush=True)
sys.stdin.read()
"""
WORKER = """\
import multiprocessing, sys
from pathlib import Path
from rtvirt_runner.build import leases
cache = Path(sys.argv[1])
work = multiprocessing.get_context("fork").Process(
    target=leases.hold, args=(cache, cache / "artifacts/thing", cache / "artifacts/thing/whole")
)
work.start()
work.join()
print("held", flush=True)
sys.stdin.read()
"""
PRUNER = """\
import sys
from pathlib import Path
from rtvirt_runner.build import cache
print([removed.name for removed in cache.prune(Path(sys.argv[1]), 0).removed])
"""
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="a pid namespace of one's own needs root")


@root_only
@pytest.mark.parametrize("holder", [HOLDER, WORKER], ids=["itself", "its worker"])
@pytest.mark.parametrize("inside", ["holder", "pruner"])
def test_who_shares_the_cache_from_another_container_is_seen(tmp_path: Path, holder: str, inside: str) -> None:
    cache = tmp_path / "cache"
    (cache / "artifacts" / "thing").mkdir(parents=True)
    (cache / "artifacts" / "thing" / "whole").write_text("x" * 5000)
    here, there = ((), ELSEWHERE) if inside == "pruner" else (ELSEWHERE, ())

    def prune() -> str:
        return subprocess.check_output([*there, sys.executable, "-c", PRUNER, cache], text=True).strip()

    pipe = subprocess.PIPE
    with subprocess.Popen([*here, sys.executable, "-c", holder, cache], stdin=pipe, stdout=pipe, text=True) as running:
        assert running.stdout and running.stdout.readline() == "held\n"
        assert prune() == "[]"
        if inside == "holder":
            (held,) = leases.holders(cache).values()
            assert held[0].label.endswith("of another container or computer")
        running.kill()
    wait_until(lambda: prune() == "['thing']", limit_s=20)


@root_only
def test_builders_in_two_containers_build_once(tmp_path: Path) -> None:
    recipe(tmp_path)
    builders = [start_build(tmp_path, *ELSEWHERE) for _ in range(2)]
    paths = {builder.communicate(timeout=60)[0].strip() for builder in builders}
    (path,) = paths
    assert_whole(Path(path))
    assert json.loads((Path(path) / "manifest.json").read_text())["name"] == "thing"
