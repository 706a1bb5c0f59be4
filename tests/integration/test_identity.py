"""The keys of a board, as the role board_image keeps them beside its lab: made once, read by their owner alone."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rtvirt_runner.catalogue import collection
from rtvirt_runner.machine.script_reply import compose

OURS = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0vJ7b2cQpX4d4qv3mZb1b5uYhYw8m1m2m3m4m5m6m7 me@here"
LAB: dict[str, Any] = {
    "boards": {
        "hosts": {
            "cb2": {"ansible_host": "192.0.2.7"},
            "rpi2": {"board_image_authorized_keys": [OURS, OURS.replace("me@", "you@")]},
            "emulated": {"board_image_address": ""},  # what starts it says where it is reached
        }
    }
}
PLAYBOOK = """\
- name: Keys
  hosts: boards
  gather_facts: false
  tasks:
    - name: Create the board's SSH keys
      ansible.builtin.include_role:
        name: rtvirt.testbed.board_image
        tasks_from: identity
"""
SECRET = {"client_key", "ssh_host_ed25519_key"}
FILES = SECRET | {"client_key.pub", "ssh_host_ed25519_key.pub", "authorized_keys", "known_hosts", ".gitignore"}


def write_lab(folder: Path) -> Path:
    folder.mkdir()
    (folder / "hosts.json").write_text(json.dumps(LAB))
    (folder / "keys.yml").write_text(PLAYBOOK)
    return folder


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A lab's folder, with a blank in its name."""
    return write_lab(tmp_path / "my lab")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab whose boards have keys."""
    lab = write_lab(tmp_path_factory.mktemp("identity") / "my lab")
    assert have_keys(lab) == {"cb2": 1, "rpi2": 1, "emulated": 1}
    return lab


def have_keys(lab: Path, *options: str, **given: Any) -> dict[str, int]:
    """Let the role have the keys; returns how many tasks changed something, by board."""
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "hosts.json", "-e", json.dumps(given), *options]
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG)}
    done = subprocess.run([*command, "keys.yml"], cwd=lab, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {board: int(number) for board, number in re.findall(r"^(\w+) +: .*changed=(\d+)", done.stdout, re.MULTILINE)}


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def public(folder: Path, key: str) -> str:
    """The public half as the secret one has it: kind and key."""
    command = ["ssh-keygen", "-y", "-f", folder / key]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split()[:2])


def ssh_would(lab: Path, board: str, address: str) -> dict[str, str]:
    """What ssh makes of a board's file when Ansible calls it for that address."""
    command = ["ssh", "-G", "-F", lab / "identity" / board / "ssh_config", address]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def test_keys_are_made_once_and_kept(known: Path) -> None:
    made = {board: content(known / "identity" / board) for board in LAB["boards"]["hosts"]}
    assert set(made["cb2"]) == set(made["rpi2"]) == FILES | {"ssh_config"}
    assert set(made["emulated"]) == FILES
    assert len({files["client_key"] for files in made.values()}) == 3
    assert have_keys(known) == {"cb2": 0, "rpi2": 0, "emulated": 0}
    assert {board: content(known / "identity" / board) for board in made} == made


def test_only_their_owner_reads_them(known: Path) -> None:
    folder = known / "identity" / "cb2"
    assert mode(folder) == 0o700
    assert {name: mode(folder / name) for name in SECRET} == dict.fromkeys(SECRET, 0o600)


def test_they_name_the_board_and_who_may_come_in(known: Path) -> None:
    folder = known / "identity" / "cb2"
    made = content(folder)
    assert made["known_hosts"] == f"cb2 {public(folder, 'ssh_host_ed25519_key')}\n"
    assert made["authorized_keys"] == f"{public(folder, 'client_key')} rtvirt to cb2\n"
    more = content(known / "identity" / "rpi2")["authorized_keys"].splitlines()
    assert more[1:] == [OURS, OURS.replace("me@", "you@")]


def test_git_sees_nothing_of_them(known: Path) -> None:
    subprocess.run(["git", "init", "-q", known], check=True)
    shown = subprocess.run(["git", "status", "--short", "-uall"], cwd=known, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == ["?? hosts.json", "?? keys.yml"]


def test_ssh_knows_the_board_by_its_own_key_under_each_of_its_names(known: Path) -> None:
    folder = known / "identity" / "cb2"
    by_address = ssh_would(known, "cb2", "192.0.2.7")
    assert ssh_would(known, "cb2", "cb2")["hostname"] == by_address["hostname"] == "192.0.2.7"
    assert (by_address["user"], by_address["hostkeyalias"]) == ("root", "cb2")
    assert (by_address["identityfile"], by_address["identitiesonly"]) == (str(folder / "client_key"), "yes")
    assert by_address["userknownhostsfile"].strip('"') == str(folder / "known_hosts")
    assert by_address["stricthostkeychecking"] in ("true", "yes")
    assert ssh_would(known, "rpi2", "rpi2")["hostname"] == "rpi2"  # a lab that says no address counts on the name
    assert "hostkeyalias" not in ssh_would(known, "cb2", "cb2-guest")  # a guest has keys of its own


def test_rotation_makes_other_keys_of_that_board_and_keeps_the_rest_true(lab: Path) -> None:
    have_keys(lab, "-l", "rpi2,cb2")
    folder = lab / "identity" / "rpi2"
    before, others = content(folder), content(lab / "identity" / "cb2")
    assert have_keys(lab, "-l", "rpi2", board_image_rotate_identity=True) == {"rpi2": 1}
    after = content(folder)
    assert {name for name in FILES if after[name] != before[name]} == FILES - {".gitignore"}
    assert after["client_key.previous"] == before["client_key"]  # the board knows no other until its new card is in it
    assert after["known_hosts"] == f"rpi2 {public(folder, 'ssh_host_ed25519_key')}\n"
    assert after["authorized_keys"].splitlines() == [
        f"{public(folder, 'client_key')} rtvirt to rpi2",
        OURS,
        OURS.replace("me@", "you@"),
    ]
    assert {name: mode(folder / name) for name in SECRET} == dict.fromkeys(SECRET, 0o600)
    assert content(lab / "identity" / "cb2") == others


def test_what_the_lab_says_anew_is_a_change(lab: Path) -> None:
    have_keys(lab, "-l", "cb2")
    before = content(lab / "identity" / "cb2")
    assert have_keys(lab, "-l", "cb2", board_image_authorized_keys=[OURS], ansible_host="192.0.2.8") == {"cb2": 1}
    after = content(lab / "identity" / "cb2")
    assert {name for name in after if after[name] != before[name]} == {"authorized_keys", "ssh_config"}


def test_check_mode_writes_nothing_and_says_what_would_change(lab: Path) -> None:
    assert have_keys(lab, "-l", "cb2", "--check") == {"cb2": 1}
    assert not (lab / "identity").exists()
    have_keys(lab, "-l", "cb2")
    before = content(lab / "identity" / "cb2")
    assert have_keys(lab, "-l", "cb2", "--check") == {"cb2": 0}
    assert have_keys(lab, "-l", "cb2", "--check", board_image_rotate_identity=True) == {"cb2": 1}
    assert content(lab / "identity" / "cb2") == before


@pytest.mark.parametrize("left", ["client_key", "client_key.pub", "client_key.new"])
def test_what_a_killed_run_left_of_a_key_is_made_whole(lab: Path, left: str) -> None:
    have_keys(lab, "-l", "cb2")
    folder = lab / "identity" / "cb2"
    before = content(folder)
    for name in {"client_key", "client_key.pub"} - {left}:
        (folder / name).unlink()
    if left == "client_key.new":
        (folder / left).write_text("half")
    assert have_keys(lab, "-l", "cb2") == {"cb2": 1}
    after = content(folder)
    assert set(after) == set(before)
    assert (after["client_key"] == before["client_key"]) == (left == "client_key")  # a board may know it already
    assert after["authorized_keys"] == f"{public(folder, 'client_key')} rtvirt to cb2\n"


@pytest.mark.parametrize("address", ["192.0.2.7", "board.example", "fe80::1%eth0", "2001:db8::7", "fe80::1%25"])
def test_ssh_reaches_the_address_of_the_lab(tmp_path: Path, address: str) -> None:
    """Also one with a zone, which ssh_config would take for a token."""
    given = {
        "NAME": "board",
        "FOLDER": str(tmp_path / "keys"),
        "ROTATE": "no",
        "ADDRESS": address,
        "AUTHORIZED_KEYS": "",
    }
    given |= {"CLIENT_KEY": "client_key", "KNOWN_HOSTS": "known_hosts", "RTVIRT_CHECK_MODE": "no"}
    script = (collection.ROOT / "roles/board_image/files/identity.sh").read_text()
    subprocess.run(["sh", "-s"], input=compose(script, given), text=True, check=True, capture_output=True)
    command = ["ssh", "-G", "-F", tmp_path / "keys/ssh_config", "board"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"hostname {address}" in told.splitlines()
