"""Run playbooks and read inventories; the only module that knows ansible-runner."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import ansible_runner

from rtvirt_runner.catalogue import collection
from rtvirt_runner.printable import printable
from rtvirt_runner.run import now
from rtvirt_runner.run.at_work import VARIABLE, CellsAtWork
from rtvirt_runner.run.progress import CellResult, Event, Failure, Progress, Stage, plain
from rtvirt_runner.run.terminal import View, open_view

FORKS = 10
TICK_S = 1
INVENTORY_LIMIT_S = 60.0
INVENTORY_LIMIT_BYTES = 4 << 30  # of address space, for each program of an inventory
INTERRUPTED_LIMIT_S = 30.0  # for ansible-playbook to end; then it is killed
_PRIVATE = "rtvirt-run-"  # begins the name of a run's temporary folder
_PRIVATE_AGE_S = 60.0  # of an unlocked one that is nobody's: not one that was just made
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class InventoryError(ValueError):
    """An inventory cannot be read; the message is one sentence."""


@dataclass(frozen=True)
class Outcome:
    """Result of a run. ``ok`` is Ansible's exit status only; the results folder says what was measured."""

    ok: bool
    interrupted: bool
    cells: tuple[CellResult, ...]
    failures: tuple[Failure, ...]
    stages: tuple[Stage, ...]
    log: Path


def read_inventory(path: Path) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    """Groups (name -> all hosts, children's too) and host variables, as plain values, without templating.

    Raises InventoryError when the path holds no inventory that Ansible can read.
    """
    if not os.path.lexists(path):
        raise InventoryError(f"{path}: there is no such inventory; give a file or a folder with -i.")
    if not path.is_dir() and not path.is_file():
        raise InventoryError(f"{path} is neither a file nor a folder, expected an inventory; give another with -i.")
    status, answer, errors = _list_inventory(path.absolute())
    if status != 0:
        raise InventoryError(f"{path}: Ansible cannot read this inventory: {_first_error(errors)}")
    try:
        listing: dict[str, Any] = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise InventoryError(f"{path}: Ansible's listing of it is no JSON ({error}); correct the inventory.") from error
    hostvars: dict[str, dict[str, Any]] = listing.pop("_meta", {}).get("hostvars", {})
    return {group: _members(group, listing) for group in listing}, hostvars


def _list_inventory(path: Path) -> tuple[int, str, str]:
    """Exit status, output and errors of ansible-inventory, which runs the programs of a dynamic inventory.

    Raises InventoryError when that takes longer than INVENTORY_LIMIT_S; everything that it has started is ended then.
    """
    command = [str(_script("ansible-inventory")), "-i", str(path), "--list"]
    env = {**os.environ, **_environment(), "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}
    with subprocess.Popen(
        ["prlimit", f"--as={INVENTORY_LIMIT_BYTES}", *command],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            answer, errors = process.communicate(timeout=INVENTORY_LIMIT_S)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise InventoryError(
                    f"{path}: Ansible has not listed this inventory after {INVENTORY_LIMIT_S:.0f} s, expected less; "
                    "look at what its programs do."
                ) from None
            raise
    return process.returncode, answer, errors


def run_playbook(
    playbook: Path,
    inventory: Path,
    extravars: Mapping[str, Any],
    *,
    log_dir: Path,
    verbosity: int = 0,
    limit: Sequence[str] = (),
    words: Sequence[str] = (),
    to_do: Mapping[str, int] | None = None,
    view: View | None = None,
) -> Outcome:
    """Run a playbook of the checkout, show its progress, keep its whole output in ``log_dir``.

    ``to_do`` is the number of pending cells per board, ``limit`` names the only hosts, ``words`` are further options of
    ansible-playbook. While it runs, now.py tells others what it does.

    The first SIGINT lets cells that are being measured end and be recorded, and no other begin; ansible-playbook is
    then interrupted. A second SIGINT, SIGTERM or SIGHUP interrupt it at once, and the next kill it. The outcome is then
    ``interrupted``. Boards that it started end with it.
    """
    progress = Progress(to_do or {}, started=time.monotonic())
    with (
        _private_folder() as private,
        _new_log(log_dir) as log,
        view or open_view() as shown,
        _Run(progress, shown, log, CellsAtWork.create(Path(private) / "cells")).interruptible() as run,
    ):
        fcntl.flock(log, fcntl.LOCK_SH)  # in use: pruning the cache leaves it
        runner = ansible_runner.interface.init_runner(
            private_data_dir=private,  # a new one each time: ansible_runner would keep the extra variables in it
            project_dir=str(collection.ROOT),
            playbook=str(playbook.absolute()),
            inventory=str(inventory.absolute()),  # ansible_runner takes a relative path for the text of an inventory
            extravars={name: _verbatim(value) for name, value in extravars.items()},
            envvars={**_environment(), VARIABLE: str(run.cells.path)},
            settings={"pexpect_timeout": TICK_S},
            suppress_env_files=True,
            forks=FORKS,
            limit=",".join(limit) or None,
            cmdline=shlex.join(words) or None,
            verbosity=verbosity or None,
            quiet=True,
            event_handler=run.take_event,
            cancel_callback=run.tick,
        )
        # It has a session of its own: without setpriv it would go on when this process is killed.
        runner.config.command = ["setpriv", "--pdeathsig", "INT", *runner.config.command]
        try:
            runner.run()
        finally:
            now.remove(Path(log.name))
    progress.finish(time.monotonic())
    return Outcome(
        ok=runner.rc == 0,
        interrupted=run.interrupted_at is not None,
        cells=tuple(progress.cells.values()),
        failures=tuple(progress.failures()),
        stages=tuple(progress.stages),
        log=Path(log.name),
    )


class _Run:
    """The callbacks of one run; ansible_runner calls them from its own loop, in this thread."""

    def __init__(self, progress: Progress, view: View, log: TextIO, cells: CellsAtWork) -> None:
        self.cells = cells
        self.interrupted_at: float | None = None  # when ansible-playbook was interrupted
        self._is_ending = False  # no cell begins any more
        self._is_killed = False
        self._progress = progress
        self._view = view
        self._log = log
        self._ansible_pid: int | None = None

    def take_event(self, event: Event) -> bool:
        """Log and show one event; False: ansible_runner need not store it."""
        self._ansible_pid = event.get("pid") or self._ansible_pid
        if stdout := event.get("stdout"):
            self._keep(printable(plain(stdout), keep="\n\t"))
        self._view.say(self._progress.handle(event, time.monotonic()))
        return False

    def _keep(self, text: str) -> None:
        """Append to the log; without room for it the run goes on without one, for whoever stops it loses more."""
        if self._log.closed:
            return
        try:
            self._log.write(f"{text}\n")
            self._log.flush()
        except OSError as error:
            self._view.say([f"{self._log.name}: {error.strerror}, so the run goes on without a log; make room there"])
            with contextlib.suppress(OSError):
                self._log.close()

    def tick(self) -> bool:
        """Called about once a second; returning True makes ansible_runner kill ansible-playbook."""
        time_s = time.monotonic()
        self._view.say(self._progress.tick(time_s))
        self._view.refresh(self._progress, time_s)
        now.Now.of(self._progress, self._log.name, time_s).write()
        if self._is_ending and self.interrupted_at is None and not self.cells.any():
            self._end("the last cell is recorded")
        if self.interrupted_at is None:
            return False
        return self._ansible_pid is None or self._is_killed or time_s - self.interrupted_at > INTERRUPTED_LIMIT_S

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[_Run]:
        """Context in which SIGINT, SIGTERM and SIGHUP, unless ignored, end the run and not this process."""
        heeded = [number for number in _STOPPING if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._interrupt) for number in heeded}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted_at is not None:
            self._is_killed = True
            return
        again, self._is_ending = self._is_ending, True
        self.cells.let_none_begin()
        if not self.cells.any():
            self._end("interrupted; no cell is being measured")
        elif number == signal.SIGINT and not again:
            say = "interrupted: finishing the cells that are being measured, the rest is left; again to drop these too"
            self._view.say([say])
        else:
            self._end("interrupted; the cells that are being measured are dropped")

    def _end(self, reason: str) -> None:
        """Interrupt ansible-playbook; the boards that it has started end with it."""
        self.interrupted_at = time.monotonic()
        self._view.say([f"{reason}: ending Ansible and the boards that it started"])
        if self._ansible_pid is not None:
            os.killpg(os.getpgid(self._ansible_pid), signal.SIGINT)


def _verbatim(value: Any) -> Any:
    """A value of extra variables that Ansible does not take for a template: a path may have braces."""
    return {"__ansible_unsafe": value} if isinstance(value, str) else value


def _environment() -> dict[str, str]:
    """Environment of Ansible beside that of this process; ansible_runner would disable host-key checking."""
    return {
        "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_FORCE_COLOR": "False",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def _script(name: str) -> Path:
    return Path(sys.executable).parent / name


def _new_log(folder: Path) -> TextIO:
    """Open a file of its own for each run, also when two begin in the same second."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"run-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    for suffix in itertools.chain([""], (f"-{number}" for number in itertools.count(2))):
        with suppress(FileExistsError):
            return (folder / f"{name}{suffix}.log").open("x", encoding="utf-8")
    raise AssertionError


@contextmanager
def _private_folder() -> Iterator[str]:
    """A folder for ansible_runner that is removed afterwards; what killed runs have left is removed as well."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PRIVATE}*"):
        with suppress(OSError), _locked(left):
            if time.time() - left.stat().st_mtime > _PRIVATE_AGE_S:
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=_PRIVATE) as folder, _locked(Path(folder)):
        yield folder


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder. Raises BlockingIOError when another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _members(group: str, listing: Mapping[str, Any]) -> list[str]:
    entry = listing.get(group, {})
    hosts: list[str] = list(entry.get("hosts", []))
    hosts.extend(host for child in entry.get("children", []) for host in _members(child, listing))
    return list(dict.fromkeys(hosts))


def _first_error(text: str) -> str:
    lines = [line.strip() for line in plain(text).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("[ERROR]", "ERROR!"))]
    chosen = (errors or lines or ["it gave no reason."])[0 if errors else -1]
    return chosen.removeprefix("[ERROR]:").removeprefix("ERROR!").strip()
