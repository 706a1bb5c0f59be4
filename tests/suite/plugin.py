"""The suite's rules as a pytest plugin: pytest calls what is here, the modules beside it do the work.

With xdist there is one process that hands out tests and tells a person (the controller), and workers that collect and
run them; without it one process does both.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter
from xdist.remote import Producer
from xdist.workermanage import WorkerController

from suite import order, passed, selection, summary
from suite.alone import GroupLock
from suite.events import VARIABLE, EventFile
from suite.outcomes import EVENTS, Outcome
from suite.progress import CurrentTest, Progress

MARKERS = (
    "slow(exercises): runs with --all, or with --changed when one of these paths (files, folders, globs) has changed",
    "alone: nothing runs beside this test's group",
    "splittable: tests of this module may run on several workers, as they share no dear fixture",
)
INTERRUPTED = "interrupted"  # a file in the folder of a run that was told to end: what fails from then on says nothing
DEFAULT_REVISION = ""


@dataclass(frozen=True)
class Run:
    """What all processes of a run share."""

    folder: Path  # of this run alone, gone after it
    changed: Sequence[str] | None  # paths, if they pick the tests
    seconds: Mapping[str, float]  # that tests took last, by id
    passed: Sequence[str]  # at this commit, if the run goes on with an earlier one

    @property
    def groups(self) -> Path:
        return self.folder / "groups.json"

    @property
    def picked(self) -> Path:
        return self.folder / "picked.json"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("rtvirt", "the suite's choice of tests")
    group.addoption("--all", action="store_true", dest="all_tests", help="the slow tests too")
    group.addoption(
        "--changed",
        nargs="?",
        const=DEFAULT_REVISION,
        metavar="REV",
        help="only slow tests that a change since REV can reach (default: since the branch left its upstream, or else "
        "since the commit before the last)",
    )
    group.addoption(
        "--resume",
        action="store_true",
        help="without the files whose tests have all passed at this commit, on this machine and with this Python",
    )
    parser.addini("boot_budget", "boots of emulated boards that the quick suite may take", default="0")
    parser.addini("silence_s", "seconds without a line after which the running tests are told", default="30")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    return order.boards_at_once() + 1


@pytest.hookimpl(tryfirst=True)  # before xdist reads its options
def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    given: dict[str, Any] | None = getattr(config, "workerinput", None)
    run = (
        Run(Path(given["suite_folder"]), given["suite_changed"], given["suite_seconds"], given["suite_passed"])
        if given
        else _new_run(config)
    )
    config.pluginmanager.register(Collecting(run, config), "suite-collecting")
    if given or not config.getoption("numprocesses", None):
        config.pluginmanager.register(Running(run, given["workerid"] if given else "here"), "suite-running")
    if not given:
        # A worker that was interrupted is not replaced: its tests end there, and so does the run once all have.
        config.option.maxworkerrestart = config.option.maxworkerrestart or "0"
        signal.signal(signal.SIGTERM, lambda *_: _interrupt_tests(run.folder))
        config.pluginmanager.register(Telling(run, config), "suite-telling")


def _new_run(config: pytest.Config) -> Run:
    revision = config.getoption("changed")
    try:
        changed = None if revision is None else selection.changed_paths(config.rootpath, revision)
        done = passed.read(passed.record_of(config.rootpath)) if config.getoption("resume") else []
    except selection.RevisionError as error:
        pytest.exit(str(error), returncode=2)
    folder = Path(tempfile.mkdtemp(prefix="rtvirt-test-"))
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    return Run(folder, changed, order.read_seconds(), done)


def _interrupt_tests(folder: Path) -> None:
    """Do what Ctrl-C on a terminal does to whoever runs tests: their fixtures have boards to stop."""
    (folder / INTERRUPTED).touch()
    workers = [int(path.read_text()) for path in folder.glob("*.pid")]
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGINT)
    if not workers:  # no test has begun
        raise KeyboardInterrupt


class Collecting:
    """Picks, groups and orders tests, wherever they are collected."""

    def __init__(self, run: Run, config: pytest.Config) -> None:
        self._run = run
        self._all = bool(config.getoption("all_tests"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        picked = self._pick(items)
        tests = passed.left(picked.tests, self._run.passed)
        chosen = set(tests)
        if left_out := [item for item in items if item not in chosen]:
            config.hook.pytest_deselected(items=left_out)
        groups = order.groups_of(tests)
        items[:] = order.in_order(tests, groups, self._run.seconds)
        for item in items:
            item.stash[GROUP] = groups.by_test[item.nodeid]
            item.stash[ALONE] = groups.by_test[item.nodeid] in groups.alone
        order.write_json(self._run.groups, dict(groups.by_test))
        told = {"left_out": picked.left_out, "reasons": picked.reasons, "before": len(picked.tests) - len(tests)}
        order.write_json(self._run.picked, told)

    def _pick(self, items: list[pytest.Item]) -> selection.Picked:
        if self._all:
            return selection.Picked(list(items), 0, [])
        if self._run.changed is not None:
            return selection.reached_tests(items, self._run.changed)
        return selection.quick_tests(items)


GROUP = pytest.StashKey[str]()
ALONE = pytest.StashKey[bool]()


class Running:
    """Is around each test, where it runs."""

    def __init__(self, run: Run, worker: str) -> None:
        self._lock = GroupLock(run.folder / "alone.lock")
        self._current = CurrentTest(run.folder, worker)
        events = run.folder / f"{worker}.events"
        self._events = EventFile(events)
        os.environ[VARIABLE] = str(events)
        (run.folder / f"{worker}.pid").write_text(str(os.getpid()))
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without one

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        alone = item.stash[ALONE]
        self._current.tell(f"{item.nodeid} waits to be alone" if alone else item.nodeid)
        self._lock.hold(alone=alone)
        self._current.tell(item.nodeid)
        try:
            return (yield)
        finally:
            self._current.tell_nothing()
            if nextitem is None or nextitem.stash[GROUP] != item.stash[GROUP]:
                self._lock.release()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if news := self._events.news():
            report.user_properties.append((EVENTS, dict(news)))
        return report


class Telling:
    """Takes what the workers report, and tells a person."""

    def __init__(self, run: Run, config: pytest.Config) -> None:
        self._run, self._config = run, config
        self._running: dict[str, Outcome] = {}
        self._outcomes: list[Outcome] = []  # of tests that have ended
        self._expected = 0
        self._told_pick = False
        self._budget = int(config.getini("boot_budget"))
        self._is_quick = run.changed is None and not config.getoption("all_tests")
        self._progress: Progress | None = None
        self._record = self._record_now()  # of what passes

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: WorkerController) -> None:
        shared = {"folder": str(self._run.folder), "changed": self._run.changed, "seconds": dict(self._run.seconds)}
        shared["passed"] = list(self._run.passed)
        node.workerinput.update({f"suite_{name}": value for name, value in shared.items()})

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Producer) -> order.SuiteScheduling | None:
        return order.SuiteScheduling(config, log, self._run.groups) if config.getvalue("dist") == "load" else None

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self._expected = len(ids)
        self._tell_pick()

    @pytest.hookimpl(tryfirst=True)  # before --collect-only lists the tests
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._expected = len(session.items)
        self._tell_pick()

    def pytest_sessionstart(self) -> None:
        if self._config.get_verbosity() <= 0 and not self._config.option.collectonly:
            self._reporter.showfspath = False
            self._progress = Progress(self._reporter, self._run.folder, float(self._config.getini("silence_s")))
            self._config.pluginmanager.register(self._progress, "suite-progress")
            self._progress.start()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = self._running.setdefault(report.nodeid, Outcome(report.nodeid))
        outcome.add(report)
        if self._progress is not None and report.failed:
            self._progress.failed(outcome, report.when or "run", report.longreprtext)
        if report.when not in ("setup", "call"):  # for a worker that died it is something else than 'teardown'
            self._outcomes.append(self._running.pop(report.nodeid))
            cut_short = outcome.verdict == "failed" and (self._run.folder / INTERRUPTED).exists()
            if self._record is not None and not cut_short:
                passed.add(self._record, outcome.nodeid, outcome.verdict)
            if self._progress is not None:
                self._progress.ended(outcome, self._expected)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self._progress is not None:
            self._progress.stop()
        if self._outcomes:
            # One that failed may have been cut short.
            took = {each.nodeid: each.seconds for each in self._outcomes if each.verdict == "passed"}
            order.keep_seconds(took, self._config.rootpath)
            passed.forget_old()
        if self._record is not None and self._record != self._record_now():
            self._record.unlink(missing_ok=True)  # something was changed meanwhile, and nobody knows what passed
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and (self._nothing_to_pick() or self._picked.get("before")):
            session.exitstatus = pytest.ExitCode.OK
        if exitstatus == pytest.ExitCode.OK and self._over_budget():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        if self._outcomes:
            for table in (summary.tier_table(self._outcomes), summary.slowest_table(self._outcomes)):
                terminalreporter.write_line("\n" + "\n".join(table))
            terminalreporter.write_line("")
        if self._is_quick and self._picked.get("left_out"):
            terminalreporter.write_line(f"{self._picked['left_out']} slow tests were left out: see --all and --changed")
        if before := self._picked.get("before"):
            terminalreporter.write_line(f"{before} tests passed in an earlier run of this commit (--resume)")
        if self._over_budget():
            boots = summary.all_boots(self._outcomes)
            terminalreporter.write_line(f"boots: {boots}, expected at most {self._budget} (boot_budget)", red=True)

    def _record_now(self) -> Path | None:
        """The record of what is in the checkout; None where no commit says what that is."""
        with contextlib.suppress(selection.RevisionError):
            return passed.record_of(self._config.rootpath)
        return None

    def _over_budget(self) -> bool:
        return self._is_quick and summary.all_boots(self._outcomes) > self._budget

    def _tell_pick(self) -> None:
        """Say once what --changed has picked, as soon as somebody has collected."""
        if self._run.changed is None or self._told_pick or not self._run.picked.exists():
            return
        self._told_pick = True
        nothing = f"nothing picked: no slow test exercises any of the {len(self._run.changed)} paths that have changed"
        for line in self._picked["reasons"] or [nothing]:
            self._reporter.write_line(line)

    def _nothing_to_pick(self) -> bool:
        return self._run.changed is not None and self._picked.get("reasons") == []

    @property
    def _picked(self) -> dict[str, Any]:
        """What a process that collects has written, if one came that far."""
        with contextlib.suppress(FileNotFoundError):
            return dict(json.loads(self._run.picked.read_text()))
        return {}

    @property
    def _reporter(self) -> TerminalReporter:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        assert isinstance(reporter, TerminalReporter)
        return reporter
