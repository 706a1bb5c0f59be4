"""The playbooks reprovision.yml and reset.yml refuse before they do anything; and the example lab is one that works."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rtvirt_runner.catalogue import collection

# In the place of ssh: it tells that a board was to be touched.
SSH = "#!/bin/sh\necho touched >>{touched}\nexit 255\n"


@dataclass(frozen=True)
class Bench:
    """A lab that a test writes, and a cache of its own: what is in it afterwards was made for the lab."""

    lab: Path
    cache: Path
    touched: Path

    def command(
        self, boards: Mapping[str, Any], *options: str, playbook: str = "reprovision.yml"
    ) -> tuple[list[str], dict[str, str]]:
        """What runs a playbook, and in which environment."""
        (self.lab / "hosts.json").write_text(json.dumps({"boards": {"hosts": boards}}))
        env = {
            **os.environ,
            "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG),
            "ANSIBLE_SSH_EXECUTABLE": str(self.lab / "ssh"),
            "XDG_CACHE_HOME": str(self.cache),
        }
        ansible = str(Path(sys.executable).parent / "ansible-playbook")
        return [ansible, "-i", str(self.lab / "hosts.json"), str(collection.PLAYBOOKS / playbook), *options], env

    def said(self, boards: Mapping[str, Any], *options: str, playbook: str = "reprovision.yml") -> str:
        """Run a playbook, which must refuse; returns what was said, in one line."""
        command, env = self.command(boards, *options, playbook=playbook)
        done = subprocess.run(
            command,
            cwd=collection.ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode != 0, done.stdout
        return " ".join((done.stdout + done.stderr).split())

    def refused(self, sentence: str, boards: Mapping[str, Any], *options: str) -> None:
        """It says exactly this, and nothing has happened."""
        began = time.monotonic()
        told = self.said(boards, *options)
        assert time.monotonic() - began < 20
        assert sentence in told
        assert "TASK [Validate the request]" in told and told.count("TASK [") == 1
        assert sorted(path.name for path in self.lab.iterdir()) == ["hosts.json", "ssh"]
        assert not self.touched.exists() and not self.cache.exists()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "lab").mkdir()
    bench = Bench(tmp_path / "lab", tmp_path / "cache", tmp_path / "touched")
    (bench.lab / "ssh").write_text(SSH.format(touched=bench.touched))
    (bench.lab / "ssh").chmod(0o755)
    return bench


CB2 = {"board_image_profile": "cubieboard2", "rtvirt_provision": "file"}


def test_without_a_board_by_name_all_would_lose_what_is_on_them(bench: Bench) -> None:
    bench.refused(
        "No board is named, and all boards would lose their data; name one with -l.",
        {"cb2": CB2, "rpi2": {**CB2, "board_image_profile": "rpi2"}},
    )


def test_a_board_of_no_kind(bench: Bench) -> None:
    bench.refused(
        "cb2 has no board_image_profile, expected the name of a board profile; set it in the lab.",
        {"cb2": {"rtvirt_provision": "file"}},
        "-lcb2",
    )


def test_a_board_of_a_kind_that_nobody_knows(bench: Bench) -> None:
    known = ", ".join(sorted(path.stem for path in collection.PROFILES.glob("*.yml")))
    bench.refused(
        f"board_image_profile: unknown profile 'cubieboard', expected one of {known}; did you mean 'cubieboard2'?",
        {"cb2": {**CB2, "board_image_profile": "cubieboard"}},
        "-lcb2",
    )


def test_a_kind_of_the_lab_s_own_that_is_wrong(bench: Bench, tmp_path: Path) -> None:
    """Whoever writes a profile sees at once what is wrong with it."""
    (tmp_path / "profiles").mkdir()
    (bench.lab / "profiles").symlink_to(tmp_path / "profiles")
    profile = (collection.PROFILES / "cubieboard2.yml").read_text()
    (tmp_path / "profiles" / "ours.yml").write_text(profile.replace("table: dos", "table: mbr"))
    told = bench.said({"cb2": {**CB2, "board_image_profile": "ours"}}, "-lcb2")
    assert f"{bench.lab}/profiles/ours.yml: table: unknown table 'mbr', expected one of gpt, dos" in told
    assert told.count("TASK [") == 1


@pytest.mark.parametrize(("way", "shown"), [("sdcard", "sdcard"), (None, "(none)")])
def test_a_way_that_is_none(bench: Bench, way: str | None, shown: str) -> None:
    bench.refused(
        f"cb2 has the rtvirt_provision {shown}, expected one of virtual, card, file, slot; set it in the lab.",
        {"cb2": {"board_image_profile": "cubieboard2"} | ({"rtvirt_provision": way} if way else {})},
        "-lcb2",
    )


def test_over_the_network_only_the_other_of_two_roots_is_written(bench: Bench) -> None:
    bench.refused(
        "The profile virt_arm64 of board has one root, expected two to write the other over the network; write a card "
        "instead.",
        {"board": {"board_image_profile": "virt_arm64", "rtvirt_provision": "slot"}},
        "-lboard",
    )


def test_keys_are_not_changed_over_the_network(bench: Bench) -> None:
    bench.refused(
        "The SSH keys of cb2 are on its boot partition, which both roots share; write a new card to replace them.",
        {"cb2": {**CB2, "rtvirt_provision": "slot"}},
        *("-lcb2", "-ertvirt_rotate_identity=true"),
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("rtvirt_rotate_identiy=true", "is no variable of rtvirt, expected rtvirt_rotate_identity; correct its name."),
        ("rtvirt_rotate_identity=ture", "rtvirt_rotate_identity is 'ture', expected true or false; correct it."),
        ("rtvirt_provision_wait_s=1h", "rtvirt_provision_wait_s is '1h', expected a whole number; correct it."),
    ],
)
def test_a_misspelt_variable(bench: Bench, given: str, sentence: str) -> None:
    bench.refused(sentence, {"cb2": CB2}, "-lcb2", f"-e{given}")


@pytest.mark.parametrize("given", ["rtvirt_keep_board=true", "rtvirt_keep_boards=ture"])
def test_a_misspelt_variable_keeps_reset_from_stopping_boards(bench: Bench, given: str) -> None:
    told = bench.said({"cb2": CB2}, f"-e{given}", playbook="reset.yml")
    assert f"{given.partition('=')[0]} is" in told and told.count("TASK [") == 1
    assert not bench.touched.exists() and not bench.cache.exists()


def test_two_boards_do_not_get_one_card(bench: Bench) -> None:
    bench.refused(
        "The cards of cb2 and rpi2 are written one after the other; name one board with -l.",
        {
            "cb2": {**CB2, "rtvirt_provision": "card"},
            "rpi2": {"board_image_profile": "rpi2", "rtvirt_provision": "card"},
        },
        "-lcb2,rpi2",
    )


def test_one_board_that_is_refused_keeps_the_others_from_being_begun(bench: Bench) -> None:
    bench.refused(
        "rpi2 has no board_image_profile, expected the name of a board profile; set it in the lab.",
        {"cb2": CB2, "rpi2": {"rtvirt_provision": "file"}},
        "-lcb2,rpi2",
    )


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        (
            "/dev/disk/by-id/none",
            "/dev/disk/by-id/none is not there (No such file or directory), expected the device of",
        ),
        ("", "No device is named"),  # and nobody is there to be asked
    ],
)
def test_a_card_that_is_not_there_is_told_before_its_image_is_made(bench: Bench, device: str, sentence: str) -> None:
    told = bench.said({"cb2": CB2}, "-lcb2", "-ertvirt_provision=card", f"-ertvirt_card_device={device}")
    assert sentence in told.partition("TASK [Ask for the card's name]")[2]
    assert not bench.cache.exists() and not bench.touched.exists()
    assert not (bench.lab / "identity").exists()


def test_on_a_terminal_it_asks_for_the_card_and_takes_the_answer(bench: Bench) -> None:
    command, env = bench.command({"cb2": {**CB2, "rtvirt_provision": "card"}}, "-lcb2")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, env)
    said = b""
    with suppress(OSError):  # Linux says EIO when the other end of a terminal is gone
        for _ in range(200):
            if select.select([terminal], [], [], 1.0)[0]:
                said += os.read(terminal, 4096)
            else:  # it waits; what is typed before it asks is dropped
                os.write(terminal, b"/dev/disk/by-id/none\n")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 2
    question, _, behind = said.decode().partition("Its name:")
    assert "No device is named" in question
    assert "/dev/disk/by-id/none is not there (No such file or directory)" in " ".join(behind.split())
    assert not bench.cache.exists() and not bench.touched.exists()


# ------------------------------------------------------------------------------------------------------ the example lab

ASK = """\
- name: Ask what the lab says
  hosts: boards
  gather_facts: false
  tasks:
    - name: Say it
      ansible.builtin.copy:
        content: "{{ {'args': ansible_ssh_common_args, 'gic': guest_gic, 'kernel': guest_kernel,
          'way': rtvirt_provision, 'config': guest_board_ssh_config,
          'guest': hostvars[inventory_hostname ~ '-guest'].ansible_ssh_common_args,
          'profile': board_image_profile | rtvirt.testbed.board_profile(inventory_dir), 'fallback': kvm_host_fallback}
          | to_json }}"
        dest: "{{ playbook_dir }}/{{ inventory_hostname }}.json"
        mode: "0644"
      delegate_to: localhost
"""
MATRIX = """\
matrix:
  name: mine
  title: My boards
  repetitions: 2
  cyclictest: {loops: 1000, interval_us: 1000, priority: 95, histogram_us: 1000}
  splits:
    1-1: {host_cpus: '0', guest_cpus: '1'}
  experiments:
    idle:
      title: Idle latency
      axes:
        board: [boards]
        kernel: [linux-6.1-rt-armhf]
        tuning: [none, full]
        split: [1-1]
        place: [host, guest]
        guest: [minimal-armhf]
        workload: [idle]
"""


@pytest.fixture(scope="module")
def my_lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, as its first lines say, with a blank in its name."""
    return Path(shutil.copytree(collection.ROOT / "inventory/example_lab", tmp_path_factory.mktemp("labs") / "my lab"))


def test_the_example_says_all_that_its_boards_are_asked_for(my_lab: Path, tmp_path: Path) -> None:
    (tmp_path / "ask.yml").write_text(ASK)
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG), "XDG_CACHE_HOME": "/caches"}
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", my_lab, tmp_path / "ask.yml"]
    done = subprocess.run(command, cwd=collection.ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for board, profile, gic in (("rpi2", "rpi2", "user_space"), ("cb2", "cubieboard2", "in_kernel")):
        said = json.loads((tmp_path / f"{board}.json").read_text())
        keys = my_lab / "identity" / board / "ssh_config"
        assert said["args"] == f"-F '{keys}'"
        assert said["config"] == str(keys)
        assert said["guest"] == f"-F /caches/rtvirt/boards/{board}/guest/ssh_config"
        assert (said["profile"]["name"], said["gic"], said["way"]) == (profile, gic, "card")
        assert (said["kernel"], said["fallback"]) == ("linux-6.1-rt-armhf", "emulate")


def test_a_matrix_for_the_example_can_be_looked_at(my_lab: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text(MATRIX)
    command = [Path(sys.executable).parent / "rtvirt", "plan", "-i", my_lab, "--matrix", tmp_path / "mine.yml"]
    done = subprocess.run(
        [*command, "--results", tmp_path / "results"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\b16 cells", done.stdout), done.stdout
    for word in ("rpi2", "cb2", "linux-6.1-rt-armhf"):
        assert word in done.stdout
    assert not (tmp_path / "results").exists()
