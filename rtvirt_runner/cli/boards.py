"""``rtvirt ssh``, ``console``, ``converge``, ``reset`` and ``reprovision``: boards by hand, outside a matrix."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from rtvirt_runner.build import artifacts
from rtvirt_runner.catalogue import checked_yaml, collection
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.run.playbooks import Outcome, run_playbook

GUEST_CONSOLE = "/run/rtvirt/guest.console"  # on its board
_MOST_BYTES = 1 << 20  # of a console, looked through for its last lines
_LOOK_S = 0.5
_SUFFIX = "-guest"


@dataclass(frozen=True)
class Connection:
    """How Ansible reaches a host of the inventory."""

    name: str
    connection: str  # ssh, local, ...
    host: str
    port: str
    user: str
    key: str
    arguments: str  # of ssh, as the inventory has them
    console: str  # the log of a board's serial console on this machine; '' if there is none

    def command(self, command: Sequence[str], terminal: bool = False) -> list[str]:
        """The words that start ssh to it. Raises InputError where it is not reached with ssh, or does not run."""
        if self.connection != "ssh":
            raise InputError(
                f"{self.name} is reached with the connection '{self.connection}', expected ssh; if it is this machine, "
                "you are there already."
            )
        arguments = shlex.split(self.arguments)
        self._refuse_stopped(arguments)
        words = [word for option, value in self._options() if value for word in (option, value)]
        return ["ssh", *(["-t"] if terminal else []), *words, *arguments, self.host, *command]

    def _options(self) -> tuple[tuple[str, str], ...]:
        return (("-p", self.port), ("-l", self.user), ("-i", self.key))

    def _refuse_stopped(self, arguments: Sequence[str]) -> None:
        """An emulated board, or a guest, has its ssh configuration as long as it exists."""
        for option, value in itertools.pairwise(arguments):
            if option == "-F" and value != "none" and not Path(value).exists():
                board = board_of(self.name)
                raise InputError(
                    f"{self.name} was never started here ({value} does not exist), expected a machine that runs; start "
                    f"it with: rtvirt converge {board} --help"
                )


def board_of(host: str) -> str:
    """The board of a guest; a board is its own."""
    return host.removesuffix(_SUFFIX)


def find_connection(host: str, groups: Mapping[str, Sequence[str]], inventory: Path) -> Connection:
    """How a board or a guest is reached. Raises InputError for an unknown one, or if Ansible cannot tell."""
    checked_yaml.known(host, [*groups.get("boards", []), *groups.get("guests", [])], "board or guest", str(inventory))
    with tempfile.TemporaryDirectory(prefix="rtvirt-connection-") as folder:
        answer = Path(folder, "connection.json")
        extravars = {"rtvirt_host": host, "rtvirt_connection_file": str(answer)}
        outcome = run_playbook(
            collection.CONNECTION, inventory, extravars, log_dir=artifacts.cache_folder() / "logs", view=_Silent()
        )
        if not answer.exists():
            failures = "; ".join(failure.message for failure in outcome.failures)
            raise InputError(f"{inventory}: how {host} is reached cannot be told: {failures or outcome.log}.")
        content: dict[str, Any] = json.loads(answer.read_text())
    return Connection(name=host, **{name: str(value) for name, value in content.items()})


def console_path(found: Connection) -> Path:
    """The console log of a board. Raises InputError if its lab names none, or nothing was written yet."""
    if not found.console:
        raise InputError(
            f"{found.name} has no rtvirt_board_console, expected the path of the log of its serial console; set it in "
            "the lab (docs/real-boards.md)."
        )
    path = Path(found.console)
    if not path.is_file():
        raise InputError(f"{path}: there is no such console log of {found.name}, expected one; has the board started?")
    return path


def last_lines(path: Path, count: int, follow: bool) -> Iterator[str]:
    """The last lines of a log, and with ``follow`` what is written to it from now on, also once it is begun anew."""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - _MOST_BYTES))
        yield from _text(log).splitlines()[-count:]
        place = log.tell()
    while follow:
        time.sleep(_LOOK_S)
        with suppress(FileNotFoundError), path.open("rb") as log:
            if path.stat().st_size < place:  # another boot
                place = 0
            log.seek(place)
            yield from _text(log).splitlines()
            place = log.tell()


def guest_console(count: int, follow: bool) -> list[str]:
    """The command that shows a guest's console on its board."""
    return ["tail", "-n", str(count), *(["-F"] if follow else []), GUEST_CONSOLE]


def board_state(kernel: str, tuning: str, host_cpus: str, guest_cpus: str, guest: str | None) -> dict[str, str]:
    """``rtvirt_state`` of converge.yml."""
    state = {"kernel": kernel, "tuning": tuning, "host_cpus": host_cpus, "guest_cpus": guest_cpus}
    return state | ({"guest": guest} if guest else {})


def play(
    playbook: Path, boards: Sequence[str], inventory: Path, extravars: Mapping[str, Any], check: bool, verbosity: int
) -> Outcome:
    """Run one of the playbooks for boards on these boards."""
    return run_playbook(
        playbook,
        inventory,
        extravars,
        log_dir=artifacts.cache_folder() / "logs",
        verbosity=verbosity,
        limit=boards,
        words=["--check", "--diff"] if check else [],
    )


def _text(log: BinaryIO) -> str:
    return log.read().decode(errors="replace")


class _Silent:
    """A view that shows nothing: whoever asked for a shell does not want to see how it was found."""

    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def say(self, lines: list[str]) -> None:
        """Show nothing."""

    def refresh(self, progress: object, now: float) -> None:
        """Show nothing."""


def replace_process(words: list[str]) -> NoReturn:
    """Become another program."""
    os.execvp(words[0], words)
