"""The sets of scripts that run as one: each is there, and whole."""

from __future__ import annotations

import re
import subprocess

import pytest

from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.machine.scripts import SETS, script_set


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_one_sound_script(name: str) -> None:
    text = "\n".join(path.read_text() for path in script_set(name))
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)


@pytest.mark.parametrize("name", SETS)
def test_what_a_script_needs_stands_before_it(name: str) -> None:
    """``Needs: unit.sh, place_guest.sh`` in a script's head names the scripts whose functions it calls."""
    paths = script_set(name)
    for number, path in enumerate(paths):
        head = re.match(r"(?:#.*\n)*", path.read_text())
        named = re.search(r"Needs:((?:[^.]|\.sh)*)", head[0].replace("\n# ", " ")) if head else None
        for other in re.findall(r"[\w]+\.sh", named[1]) if named else []:
            assert other in [each.name for each in paths[:number]], f"{path.name} in {name}"


def test_what_reads_a_state_or_obeys_check_mode_says_so_and_what_measures_does_not() -> None:
    safe = {name: all("\n# check mode: safe\n" in path.read_text() for path in script_set(name)) for name in SETS}
    assert {name for name, each in safe.items() if each} == {
        *("machine_state", "board_state", "running_kernel", "preflight", "kvm_host"),
        *("apply_settings", "start_guest", "stop_guest", "lease"),
        *("neighbour_state", "start_neighbour", "stop_neighbour"),
    }


def test_a_set_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown set of scripts 'machine_stat'.*did you mean 'machine_state'"):
        script_set("machine_stat")
