"""Which tests run: slow ones only with ``--all``, or with ``--changed`` where a change can reach them."""

from __future__ import annotations

import fnmatch
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

# What these change can change everything.
REACH_ALL = ("requirements.lock", "pyproject.toml", "ansible.cfg", "tests/conftest.py", "tests/suite")


class RevisionError(ValueError):
    """Git cannot say what has changed; the message is one sentence."""


@dataclass(frozen=True)
class Picked:
    """The tests that run, how many slow ones do not, and why the others were picked: a sentence for each module."""

    tests: list[pytest.Item]
    left_out: int
    reasons: list[str]


def quick_tests(items: Sequence[pytest.Item]) -> Picked:
    """All but the slow tests."""
    tests = [item for item in items if not is_slow(item)]
    return Picked(tests, len(items) - len(tests), [])


def reached_tests(items: Sequence[pytest.Item], changed: Sequence[str]) -> Picked:
    """The slow tests that a change of these paths can reach, and no others."""
    tests: list[pytest.Item] = []
    reasons: dict[str, str] = {}
    slow = [item for item in items if is_slow(item)]
    for item in slow:
        path = path_of(item)
        cause = next((name for name in changed if reaches(name, path, exercises(item))), None)
        if cause is not None:
            tests.append(item)
            reasons.setdefault(path, f"picked {path}: {cause} has changed")
    return Picked(tests, len(slow) - len(tests), list(reasons.values()))


def is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


def path_of(item: pytest.Item) -> str:
    """The path of a test's file below the root."""
    return item.nodeid.partition("::")[0]


def exercises(item: pytest.Item) -> list[str]:
    """Paths that a slow test exercises: those of its own mark, its class's and its module's together."""
    return [path for mark in item.iter_markers("slow") for path in mark.kwargs.get("exercises", [])]


def reaches(changed: str, test: str, exercised: Iterable[str]) -> bool:
    """Whether a changed path can change the outcome of a test file, by what that one says that it exercises."""
    return any(matches(changed, pattern) for pattern in [test, *REACH_ALL, *exercised]) or _helps(changed, test)


def matches(path: str, pattern: str) -> bool:
    """Whether a pattern (a file, a folder or a glob) names a path."""
    return path == pattern or path.startswith(f"{pattern.rstrip('/')}/") or fnmatch.fnmatchcase(path, pattern)


def _helps(changed: str, test: str) -> bool:
    """Whether a changed path is Python beside a test file that tests nothing itself, such as a conftest.py."""
    path = PurePosixPath(changed)
    return path.parent == PurePosixPath(test).parent and path.suffix == ".py" and not path.name.startswith("test_")


def changed_paths(root: Path, revision: str) -> list[str]:
    """Paths that differ from a revision ('' is the default one), with uncommitted and untracked files.

    Raises RevisionError when git does not know it.
    """
    since = _commit(root, revision) if revision else _default_commit(root)
    tracked = git(root, "diff", "--name-only", "--no-renames", "-z", since, "--")
    untracked = git(root, "ls-files", "--others", "--exclude-standard", "-z")
    return sorted({path for path in (tracked + untracked).split("\0") if path})


def _default_commit(root: Path) -> str:
    """Where the current branch left its upstream; without one, the commit before the last."""
    try:
        return git(root, "merge-base", "HEAD", "@{upstream}").strip()
    except RevisionError:
        return _commit(root, "HEAD~1")


def _commit(root: Path, revision: str) -> str:
    try:
        return git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()
    except RevisionError as error:
        raise RevisionError(
            f"There is no revision '{revision}' in {root}; name a commit, branch or tag after --changed."
        ) from error


def git(root: Path, *words: str) -> str:
    """What a command of git prints; raises RevisionError when it fails."""
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise RevisionError(
            "git is not installed, and --changed and --resume ask it; please run: apt-get install -y git"
        ) from error
    if done.returncode != 0:
        raise RevisionError(f"'git {' '.join(words)}' failed in {root}: {done.stderr.strip()}")
    return done.stdout
