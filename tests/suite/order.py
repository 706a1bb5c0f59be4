"""Which test runs when and where: the longest group of boards at once, quick ones beside it, then the longest first."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from rtvirt_runner.build import artifacts
from suite.selection import path_of

GUESSES_S: Mapping[str, float] = {"lint": 10.0, "unit": 0.05, "integration": 1.0, "machines": 60.0}
MOST_BOARDS = 2  # at once: each needs memory
_AT_ONCE, _FIRST, _SECOND, _THEN, _LAST = range(5)


def boards_at_once() -> int:
    """How many groups of the tier machines run at once: an emulated board keeps a core busy."""
    return min(MOST_BOARDS, len(os.sched_getaffinity(0)))


def tier_of(nodeid: str) -> str:
    """``tests/unit/test_x.py::test_y`` is of tier ``unit``."""
    folders = nodeid.partition("::")[0].split("/")
    return folders[1] if len(folders) > 2 and folders[0] == "tests" else "other"


def is_ungrouped(item: pytest.Item) -> bool:
    """Whether a test shares nothing dear with the others of its module."""
    return tier_of(item.nodeid) in ("lint", "unit") or item.get_closest_marker("splittable") is not None


def group_of(item: pytest.Item) -> str:
    """What runs on one worker, one test after the other, has the same group."""
    mark = item.get_closest_marker("xdist_group")
    if mark is not None:
        return str(mark.args[0] if mark.args else mark.kwargs["name"])
    return item.nodeid if is_ungrouped(item) else path_of(item)


@dataclass(frozen=True)
class Groups:
    """The group of each test by its id, and the groups that nothing may run beside."""

    by_test: Mapping[str, str]
    alone: frozenset[str]


def groups_of(items: Sequence[pytest.Item]) -> Groups:
    by_test = {item.nodeid: group_of(item) for item in items}
    alone = (by_test[item.nodeid] for item in items if item.get_closest_marker("alone") is not None)
    return Groups(by_test, frozenset(alone))


def in_order(items: Sequence[pytest.Item], groups: Groups, seconds: Mapping[str, float]) -> list[pytest.Item]:
    """The group of boards that takes longest, lint, unit tests as they stand, the others by length, what runs alone.

    No run can be shorter than its longest group, which waits for its boards half of its time: it begins at once.
    """
    length_s: dict[str, float] = {}
    place: dict[str, int] = {}
    for number, item in enumerate(items):
        group = groups.by_test[item.nodeid]
        test_s = seconds.get(item.nodeid, GUESSES_S.get(tier_of(item.nodeid), 1.0))
        length_s[group] = length_s.get(group, 0.0) + test_s
        place.setdefault(group, number)
    if not any(tier_of(nodeid) == "machines" for nodeid in seconds):
        _let_one_build(items, groups, length_s)

    boards = {groups.by_test[item.nodeid] for item in items if tier_of(item.nodeid) == "machines"} - groups.alone
    longest = max(boards, key=lambda group: (length_s[group], -place[group]), default=None)

    def key(item: pytest.Item) -> tuple[int, float, int]:
        group = groups.by_test[item.nodeid]
        stage = {"lint": _FIRST, "unit": _SECOND}.get(tier_of(item.nodeid), _THEN)
        stage = _LAST if group in groups.alone else _AT_ONCE if group == longest else stage
        return (stage, 0.0 if stage == _SECOND else -length_s[group], place[group])

    return sorted(items, key=key)


def _let_one_build(items: Sequence[pytest.Item], groups: Groups, length_s: dict[str, float]) -> None:
    """Where no board has run yet: one group of boards, for which kernels and images are made, then integration tests.

    A second group of boards would only wait for the same kernels and images.
    """
    tiers = {groups.by_test[item.nodeid]: tier_of(item.nodeid) for item in items}
    boards = sorted((group for group in tiers if tiers[group] == "machines"), key=lambda group: -length_s[group])
    first_s = sum(length_s[group] for group in boards)
    for group in [*boards[:1], *(group for group in tiers if tiers[group] == "integration")]:
        length_s[group] += first_s


class SuiteScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """xdist's scheduler of groups, with our groups, and without a second group for a worker that does not need it yet.

    The original hands out the next group while two tests of the last one are still to come: with tests that take
    minutes a worker would sit on a group that another, idle one could run.

    At most ``boards_at_once`` groups of the tier machines are at work at once. Tests of the other tiers wait much of
    their time, and a worker more than that runs them beside boards.
    """

    def __init__(self, config: pytest.Config, log: Producer, by_test: Path) -> None:
        super().__init__(config, log)
        self._by_test_file = by_test  # written by the workers: only they collect
        self._by_test: dict[str, str] = {}
        config.option.loadscopereorder = False  # by number of tests

    def _split_scope(self, nodeid: str) -> str:
        self._by_test = self._by_test or json.loads(self._by_test_file.read_text())
        return self._by_test[nodeid]

    def _reschedule(self, node: WorkerController) -> None:
        # A worker starts a test when it knows the one after it (what to tear down depends on that): one has to wait.
        if self.workqueue and self._pending_of(self.assigned_work[node]) > 1:
            return
        if self.workqueue and self._next_group(node) is None:
            # Only boards are left, and the other workers have them all: this one runs the test that waits, and ends.
            node.shutdown()
            return
        super()._reschedule(node)

    def _assign_work_unit(self, node: WorkerController) -> None:
        group = self._next_group(node)
        if group is None:
            node.shutdown()
            return
        self.workqueue.move_to_end(group, last=False)
        super()._assign_work_unit(node)

    def _next_group(self, node: WorkerController) -> str | None:
        """The first group that may begin on a worker now; None if it would be a board too many."""
        at_boards = [each for each in self.assigned_work if each is not node and self._is_at_board(each)]
        if len(at_boards) < boards_at_once():
            return next(iter(self.workqueue), None)
        return next((group for group in self.workqueue if not self._is_board(self.workqueue[group])), None)

    def _is_at_board(self, node: WorkerController) -> bool:
        return any(not all(tests.values()) and self._is_board(tests) for tests in self.assigned_work[node].values())

    @staticmethod
    def _is_board(tests: Mapping[str, bool]) -> bool:
        return any(tier_of(nodeid) == "machines" for nodeid in tests)


# ------------------------------------------------------------------------------------------ how long tests have taken


def seconds_file() -> Path:
    return artifacts.cache_folder() / "test-seconds.json"


def read_seconds() -> dict[str, float]:
    """Seconds that each test took last, by id; without a file that is as it should be, there are only guesses."""
    try:
        return {str(nodeid): float(value) for nodeid, value in json.loads(seconds_file().read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def keep_seconds(seconds: Mapping[str, float], root: Path) -> None:
    """Remember how long these took, and forget tests whose file is gone."""
    kept = {nodeid: value for nodeid, value in read_seconds().items() if (root / nodeid.partition("::")[0]).is_file()}
    seconds_file().parent.mkdir(parents=True, exist_ok=True)
    kept |= {nodeid: round(value, 3) for nodeid, value in seconds.items()}
    write_json(seconds_file(), kept)


def write_json(path: Path, content: object) -> None:
    """Write a file that is never seen half written."""
    half = path.with_name(f"{path.name}.{os.getpid()}")
    half.write_text(json.dumps(content))
    half.replace(path)
