"""The suite's own rules (tests/suite), in real runs of pytest on small suites."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from suite import order, passed
from suite.selection import matches, reaches

from rtvirt_runner.catalogue import collection

Result = pytest.RunResult

SLOW = """
import pytest

pytestmark = pytest.mark.slow(exercises=["roles/{role}"])


def test_long():
    pass
"""
# What starts a board appends such lines.
BOOTING = """
import json, os, pytest


def event(kind):
    with open(os.environ["RTVIRT_TEST_EVENTS"], "a") as file:
        print(json.dumps({"event": kind, "board": "virtual-cb2"}), file=file)


@pytest.fixture(scope="module")
def board():
    event("cold boot")
    yield
    event("restore")


def test_first(board):
    event("reboot")


def test_second(board):
    event("guest start")
"""
WAITING = """
import time
from pathlib import Path


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
"""


SETTINGS = """
[pytest]
boot_budget = 2
console_output_style = classic
"""


OPTIONS = ("-p", "suite.plugin", "--import-mode=importlib", "--strict-markers")


class Suite:
    """A small suite in a folder of its own, with git and a cache."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pytester = pytester
        self.root = pytester.path
        monkeypatch.setenv("PYTHONPATH", str(collection.ROOT / "tests"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(self.root / ".cache"))
        self.write({"pytest.ini": SETTINGS, ".gitignore": ".*\n__pycache__\nstdout\nstderr\nrunpytest*\n"})

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run(self, *options: str) -> Result:
        return self._pytester.runpytest_subprocess(*OPTIONS, *options)

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pytest", *OPTIONS, *options]
        return subprocess.Popen(command, cwd=self.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def commit(self) -> None:
        """Commit all that is there."""
        who = {f"GIT_{role}_{what}": "rtvirt" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        env = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull}
        for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "State")):
            subprocess.run(["git", *words], cwd=self.root, env=env, check=True)


runs_a_suite = pytest.mark.slow(exercises=["tests/suite", "tests/conftest.py", "pyproject.toml"])


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    return Suite(pytester, monkeypatch)


# -------------------------------------------------------------------------------------------------------- which tests


def test_slow_tests_run_only_when_all_are_asked_for(suite: Suite) -> None:
    suite.write({"tests/unit/test_a.py": "def test_a(): pass", "tests/machines/test_b.py": SLOW.format(role="guest")})
    quick = suite.run()
    quick.assert_outcomes(passed=1, deselected=1)
    assert "1 slow tests were left out: see --all and --changed" in quick.outlines
    suite.run("--all", "-n", "2").assert_outcomes(passed=2)
    assert suite.run("tests/machines").ret == pytest.ExitCode.NO_TESTS_COLLECTED  # a path alone picks no slow test


@pytest.fixture
def committed(suite: Suite) -> Suite:
    """Two commits; the last one changes the role guest."""
    suite.write({f"tests/machines/test_{role}.py": SLOW.format(role=role) for role in ("guest", "kernel_boot")})
    suite.write({"tests/unit/test_quick.py": "def test_quick(): pass"})
    suite.commit()
    suite.write({"roles/guest/tasks/main.yml": "[]\n"})
    suite.commit()
    return suite


@runs_a_suite
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_change_picks_the_slow_tests_that_exercise_it(committed: Suite, workers: str) -> None:
    done = committed.run("--changed", "-n", workers)
    done.assert_outcomes(passed=1, deselected=0 if workers == "2" else 2)
    assert "picked tests/machines/test_guest.py: roles/guest/tasks/main.yml has changed" in done.outlines


@runs_a_suite
def test_what_is_not_committed_is_a_change_too(committed: Suite) -> None:
    committed.write({"roles/kernel_boot/README.md": "New.\n"})
    told = committed.run("--changed", "HEAD", "--collect-only", "-q").outlines
    assert told[:2] == [
        "picked tests/machines/test_kernel_boot.py: roles/kernel_boot/README.md has changed",
        "tests/machines/test_kernel_boot.py::test_long",
    ]


@runs_a_suite
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_change_that_no_slow_test_exercises_is_no_failure(committed: Suite, workers: str) -> None:
    committed.write({"docs/guests.md": "New.\n"})
    done = committed.run("--changed", "HEAD", "-n", workers)
    assert done.ret == 0
    assert "nothing picked: no slow test exercises any of the 1 paths that have changed" in done.outlines


def test_an_unknown_revision_is_answered_with_one_sentence(committed: Suite) -> None:
    done = committed.run("--changed", "nowhere", "-n", "2")
    assert done.ret == 2
    assert done.errlines[-1].endswith(
        f"There is no revision 'nowhere' in {committed.root}; name a commit, branch or tag after --changed."
    )


@runs_a_suite
@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_interrupted_run_is_gone_on_with_file_by_file(suite: Suite, workers: str) -> None:
    unless = (
        "from pathlib import Path\n\n\ndef test_good(): pass\n\n\ndef test_bad():\n    assert Path('.mended').exists()"
    )
    suite.write({"tests/unit/test_a.py": "def test_a(): pass", "tests/unit/test_b.py": unless})
    suite.write({"tests/machines/test_c.py": SLOW.format(role="guest")})
    suite.commit()
    suite.run("--all", "-n", workers).assert_outcomes(passed=3, failed=1)
    (suite.root / ".mended").touch()
    resumed = suite.run("--all", "--resume", "-n", workers)
    assert resumed.parseoutcomes()["passed"] == 2  # both tests of the file in which one failed
    assert "2 tests passed in an earlier run of this commit (--resume)" in resumed.outlines
    over = suite.run("--all", "--resume", "-n", workers)
    assert over.ret == pytest.ExitCode.OK
    assert "4 tests passed in an earlier run of this commit (--resume)" in over.outlines
    suite.write({"tests/unit/test_a.py": "def test_other(): pass"})
    assert suite.run("--resume", "-n", workers).ret == 2
    suite.commit()
    suite.run("--all", "--resume", "-n", workers).assert_outcomes(passed=4)


@runs_a_suite
def test_a_test_that_a_run_was_ended_in_is_none_that_failed(suite: Suite) -> None:
    """What passed before at the same commit has passed."""
    waits = (
        "from pathlib import Path\nimport time\n\n\ndef test_it():\n"
        "    Path('.begun').touch()\n    while Path('.wait').exists():\n        time.sleep(0.01)"
    )
    suite.write({"tests/unit/test_a.py": waits})
    suite.commit()
    suite.run("-n", "1").assert_outcomes(passed=1)
    (suite.root / ".wait").touch()
    (suite.root / ".begun").unlink()
    ended = suite.start("-n", "1")
    deadline = time.monotonic() + 60
    while not (suite.root / ".begun").exists():
        assert time.monotonic() < deadline, "it did not begin"
        time.sleep(0.01)
    ended.terminate()
    assert ended.wait(60) != 0
    (suite.root / ".wait").unlink()
    assert "1 tests passed in an earlier run of this commit (--resume)" in suite.run("--resume", "-n", "1").outlines


@runs_a_suite
def test_nothing_is_remembered_of_a_checkout_that_changed_meanwhile(suite: Suite) -> None:
    suite.write({"tests/unit/test_a.py": "def test_a(): open('README', 'w').close()"})
    suite.commit()
    suite.run("-n", "0").assert_outcomes(passed=1)
    assert list((suite.root / ".cache" / "rtvirt" / "test-passed").iterdir()) == []


def test_what_an_interrupted_write_has_left_is_no_test(tmp_path: Path) -> None:
    record = tmp_path / "tree"
    assert passed.read(record) == []
    for nodeid, verdict in (("test_a", "failed"), ("test_a", "passed"), ("test_b", "passed"), ("test_b", "failed")):
        passed.add(record, f"tests/unit/test_a.py::{nodeid}", verdict)  # the last time counts
    with record.open("a") as file:
        file.write("tests/unit/test_b.py::te")
    assert passed.read(record) == ["tests/unit/test_a.py::test_a"]


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("roles/guest/tasks/main.yml", "roles/guest", True),
        ("roles/guest/tasks/main.yml", "roles/guest/", True),
        ("roles/guest_network/tasks/main.yml", "roles/guest", False),
        ("rtvirt_runner/media/sd_card.py", "rtvirt_runner/media/sd_card.py", True),
        ("playbooks/vars/matrix_smoke.yml", "playbooks/vars/matrix_*.yml", True),
        ("playbooks/vars/kernels.yml", "playbooks/vars/matrix_*.yml", False),
    ],
)
def test_an_exercised_path_is_a_file_a_folder_or_a_glob(path: str, pattern: str, expected: bool) -> None:
    assert matches(path, pattern) is expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("tests/machines/test_grub.py", True),  # itself
        ("tests/machines/playing.py", True),  # what it may import
        ("tests/machines/test_isolation.py", False),
        ("tests/unit/fakes.py", False),
        ("tests/suite/order.py", True),
        ("requirements.lock", True),
        ("docs/index.md", False),
    ],
)
def test_a_test_is_reached_by_its_own_file_helpers_and_what_changes_all(changed: str, expected: bool) -> None:
    assert reaches(changed, "tests/machines/test_grub.py", ["roles/boot"]) is expected


LISTING = """
import json
from pathlib import Path
from suite import order, passed
from suite.selection import exercises, is_slow

def pytest_collection_finish(session):
    slow = {item.nodeid: exercises(item) for item in session.items if is_slow(item)}
    Path(__file__).with_name("slow.json").write_text(json.dumps(slow))
"""


def test_every_slow_test_says_what_it_exercises_and_that_exists(tmp_path: Path) -> None:
    (tmp_path / "listing.py").write_text(LISTING)
    command = [sys.executable, "-m", "pytest", "--all", "--collect-only", "-q", "-p", "listing"]
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{collection.ROOT / 'tests'}"}
    subprocess.run(command, cwd=collection.ROOT, env=env, check=True, stdout=subprocess.DEVNULL)
    slow: dict[str, list[str]] = json.loads((tmp_path / "slow.json").read_text())
    assert [test for test, exercised in slow.items() if not exercised] == []
    patterns = {pattern for exercised in slow.values() for pattern in exercised}
    assert [pattern for pattern in sorted(patterns) if not list(collection.ROOT.glob(pattern))] == []


# ----------------------------------------------------------------------------------------------------- where and when


@runs_a_suite
def test_a_group_is_not_kept_waiting_behind_tests_that_another_worker_need_not_wait_for(suite: Suite) -> None:
    first = f"{WAITING}\ndef test_1():\n    wait_until(Path('last').exists)\n\n\ndef test_2():\n    pass\n"
    suite.write({"tests/integration/test_a.py": first, "tests/integration/test_b.py": "def test_b(): pass"})
    suite.write({"tests/integration/test_c.py": "from pathlib import Path\n\ndef test_c(): Path('last').touch()"})
    suite.run("-n", "2").assert_outcomes(passed=4)


AT_A_BOARD = """
import os, time
from pathlib import Path


def test_first(): pass


def test_second():
    Path(f"{os.getpid()}.board").touch()
    time.sleep(0.3)
    Path("boards").open("a").write(f"{len(list(Path().glob('*.board')))}\\n")
    Path(f"{os.getpid()}.board").unlink()
"""


@runs_a_suite
def test_no_more_boards_run_than_there_are_cores_and_other_tests_beside_them(suite: Suite) -> None:
    most = order.boards_at_once()
    suite.write({f"tests/machines/test_{number}.py": AT_A_BOARD for number in range(most + 3)})
    last = f"{WAITING}\ndef test_last(): wait_until(Path('boards').exists)"
    suite.write({"tests/integration/test_a.py": "def test_a(): pass", "tests/integration/test_b.py": last})
    suite.run("-n", str(most + 2)).assert_outcomes(passed=2 * (most + 3) + 2)
    assert max(int(line) for line in (suite.root / "boards").read_text().split()) <= most


NAMES_ITS_WORKER = """
import os
from pathlib import Path

import pytest


@pytest.mark.parametrize("number", range(6))
def test(number):
    with Path(__file__).with_suffix(".workers").open("a") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], file=file)
"""


@runs_a_suite
def test_a_module_of_integration_tests_stays_on_one_worker(suite: Suite) -> None:
    suite.write({f"tests/integration/test_{name}.py": NAMES_ITS_WORKER for name in "ab"})
    suite.run("-n", "2").assert_outcomes(passed=12)
    for name in "ab":
        workers = (suite.root / f"tests/integration/test_{name}.workers").read_text().split()
        assert (len(workers), len(set(workers))) == (6, 1)


@runs_a_suite
def test_how_long_a_test_takes_is_told_by_one_that_passed(suite: Suite) -> None:
    """One that fails may have been cut short, and would no longer begin first."""
    suite.write({"tests/unit/test_a.py": "def test_a(): assert 0", "tests/unit/test_b.py": "def test_b(): pass"})
    took = {f"tests/unit/test_{name}.py::test_{name}": 99.0 for name in "ab"}
    suite.write({".cache/rtvirt/test-seconds.json": json.dumps(took)})
    suite.run().assert_outcomes(passed=1, failed=1)
    now = json.loads((suite.root / ".cache/rtvirt/test-seconds.json").read_text())
    assert now["tests/unit/test_a.py::test_a"] == 99.0 > now["tests/unit/test_b.py::test_b"]


@runs_a_suite
def test_the_longest_boards_begin_at_once_with_quick_feedback_beside_them(suite: Suite) -> None:
    names = ("integration/test_short", "integration/test_long", "machines/test_alone", "lint/test_form", "unit/test_u")
    names += ("machines/test_first", "machines/test_second")
    suite.write({f"tests/{name}.py": "def test(): pass" for name in names})
    suite.write({"tests/machines/test_alone.py": "import pytest\n\n@pytest.mark.alone\ndef test(): pass"})
    took = {f"tests/integration/test_{name}.py::test": seconds for name, seconds in {"long": 9.0, "short": 2.0}.items()}
    took |= {"tests/machines/test_first.py::test": 8.0, "tests/machines/test_second.py::test": 7.0}
    suite.write({".cache/rtvirt/test-seconds.json": json.dumps(took)})
    order = [line.removesuffix(".py::test") for line in suite.run("--collect-only", "-q").outlines if "::" in line]
    assert [name.removeprefix("tests/") for name in order] == [
        "machines/test_first",
        "lint/test_form",
        "unit/test_u",
        "integration/test_long",
        "machines/test_second",
        "integration/test_short",
        "machines/test_alone",
    ]


@runs_a_suite
def test_before_any_board_has_run_one_group_builds_for_them_while_integration_tests_run(suite: Suite) -> None:
    suite.write({"tests/machines/test_long.py": "def test_1(): pass\n\ndef test_2(): pass"})
    suite.write({f"tests/{name}.py": "def test(): pass" for name in ("machines/test_short", "integration/test_i")})
    order = [line.partition(".py")[0] for line in suite.run("--collect-only", "-q").outlines if "::" in line]
    assert list(dict.fromkeys(order)) == [
        "tests/machines/test_long",
        "tests/integration/test_i",
        "tests/machines/test_short",
    ]


@runs_a_suite
def test_nothing_runs_beside_a_test_that_is_to_be_alone_not_even_the_fixture_of_another_module(suite: Suite) -> None:
    others = """
import os, pytest
BOARD, RUN = Path("board"), Path(os.environ["RTVIRT_TEST_EVENTS"]).parent


@pytest.fixture(scope="module", autouse=True)
def board():
    BOARD.touch()
    yield
    BOARD.unlink()


def test_1():
    wait_until(lambda: any("waits to be alone" in path.read_text() for path in RUN.glob("*.current")))


def test_2():
    assert BOARD.exists()
"""
    alone = (
        "import pytest\nfrom pathlib import Path\n\n@pytest.mark.alone\ndef test(): assert not Path('board').exists()"
    )
    meanwhile = (
        f"{WAITING}\ndef test(): wait_until(Path('board').exists)"  # on the worker that is to run the lonely one
    )
    suite.write({"tests/machines/test_a.py": WAITING + others, "tests/machines/test_b.py": alone})
    suite.write({"tests/machines/test_c.py": meanwhile})
    suite.run("-n", "2").assert_outcomes(passed=4)


@runs_a_suite
@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_that_is_terminated_tears_down_what_its_fixtures_hold(suite: Suite, workers: str) -> None:
    board = """
import pytest


@pytest.fixture(scope="module")
def board():
    yield
    Path("stopped").touch()


def test_long(board):
    Path("started").touch()
    wait_until(lambda: False)
"""
    suite.write({"tests/machines/test_a.py": WAITING + board})
    run = suite.start("-n", workers)
    while not (suite.root / "started").exists():
        assert run.poll() is None
    run.terminate()
    assert run.wait(60) == pytest.ExitCode.INTERRUPTED
    assert (suite.root / "stopped").exists()


# ------------------------------------------------------------------------------------------------------- what is told


@runs_a_suite
@pytest.mark.parametrize("workers", ["0", "2"])
def test_boots_are_told_with_the_test_in_which_they_happened(suite: Suite, workers: str) -> None:
    suite.write({"tests/machines/test_board.py": BOOTING})
    done = suite.run("-n", workers)
    done.assert_outcomes(passed=2)
    done.stdout.re_match_lines(
        [
            r"tests/machines/test_board\.py::test_first passed, \d\.\d s, 2 boots",
            r"tests/machines/test_board\.py::test_second passed, \d\.\d s, 1 restore, 1 guest start",
            r"tier +passed +failed +skipped +seconds +wall +boots +restores",
            r"machines +2 +0 +0 +\d+ +\d+ +2 +1",
        ]
    )


@runs_a_suite
def test_more_boots_than_the_budget_fail_the_quick_suite_and_no_other(suite: Suite) -> None:
    suite.write({f"tests/machines/test_{name}.py": BOOTING for name in "ab"})
    quick = suite.run("-n", "2")
    assert quick.ret == pytest.ExitCode.TESTS_FAILED
    assert "boots: 4, expected at most 2 (boot_budget)" in quick.outlines
    assert suite.run("--all").ret == 0


@runs_a_suite
def test_after_a_silence_the_running_tests_are_told(suite: Suite) -> None:
    """The silence ends a test that waits for its end to be told: pytester keeps what it reads in the file stdout."""
    waits = (
        f"{WAITING}\ndef test_slow():\n    wait_until(lambda: '... gw0: tests/unit' in Path('stdout').read_text())\n"
    )
    suite.write({"tests/unit/test_a.py": waits})
    done = suite.run("-n", "1", "-o", "silence_s=0.2")
    done.assert_outcomes(passed=1)
    done.stdout.re_match_lines([r"\.\.\. gw0: tests/unit/test_a\.py::test_slow, \d\.\d s"])


@runs_a_suite
def test_a_failure_is_named_and_explained_when_it_happens_and_shown_at_the_end(suite: Suite) -> None:
    suite.write({"tests/unit/test_a.py": "def test_a(): assert 1 == 2", "tests/unit/test_b.py": "def test_b(): pass"})
    done = suite.run("-n", "2")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.re_match_lines(
        [
            r"tests/unit/test_a\.py::test_a failed, 0\.\d s \(in its call\)",
            r"    E +assert 1 == 2",
            r"2 of 2 tests have ended, 1 failed",
            r".*assert 1 == 2",
            r"unit +1 +1 +0",
            r"FAILED tests/unit/test_a\.py::test_a.*",
        ]
    )
