"""Keys are read by their owner alone, wherever a role writes them, and paths with odd characters are paths."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.machine import script_reply, ssh_config
from rtvirt_runner.run.playbooks import run_playbook

ROLES = collection.ROOT / "roles"
BIN = Path(sys.executable).parent
ODD = """a b%h'c"d$HOME\\e,f{{ x }}é[1]*#;&"""
SECRETS = ("client_key", "host_key", "identity.img", "ssh_host_ed25519_key", "dropbear_ed25519_host_key")


def run_role_script(script: Path, **environment: str) -> script_reply.Reply:
    """Run a script of a role by sh, with a umask that hides nothing."""
    text = script_reply.compose(script.read_text(), {"RTVIRT_CHECK_MODE": "no", **environment})
    done = subprocess.run(
        ["sh", "-c", "umask 000; exec sh -s"], input=text, capture_output=True, text=True, check=False
    )
    reply = script_reply.parse(done.stdout)
    assert reply.failure is None and reply.complete, (reply, done.stderr)
    return reply


def modes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): oct(path.stat().st_mode & 0o777) for path in sorted(folder.rglob("*"))}


def of_ssh(folder: Path) -> dict[str, str]:
    """What the roles' tasks give to the scripts beside the folder."""
    names = {"CLIENT_KEY": "client_key", "KNOWN_HOSTS": "known_hosts"}
    return {name: ssh_config.quote(str(folder / file)) for name, file in names.items()}


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """The folder of a guest, below that of its board, with keys and configuration."""
    board = tmp_path / ODD / "boards" / "b1"
    board.mkdir(parents=True)
    (board / "ssh_config").write_text(
        f"Host b1\n  HostName 127.0.0.1\n  Port 2201\n  UserKnownHostsFile {ssh_config.quote(str(board / 'known'))}\n"
    )
    folder = board / "guest"
    run_role_script(
        ROLES / "guest" / "files" / "guest_identity.sh",
        NAME="b1-guest",
        FOLDER=str(folder),
        PORT="2222",
        BOARD_SSH_CONFIG=str(board / "ssh_config"),
        JUMP=ssh_config.jump(str(folder / "ssh_config"), "b1"),
        **of_ssh(folder),
    )
    return folder


def test_keys_of_a_guest_are_its_owner_s(guest: Path) -> None:
    found = modes(guest)
    assert {name.rsplit("/", 1)[-1] for name in found} >= set(SECRETS)
    assert {name: mode for name, mode in found.items() if mode[-2:] != "00"} == {}
    listed = subprocess.run(["cpio", "-tv", "--quiet", "-F", guest / "identity.img"], capture_output=True, text=True)
    lines = [line.split() for line in listed.stdout.splitlines()]
    assert {line[-1]: line[0][4:] for line in lines} == dict.fromkeys((line[-1] for line in lines), "------")
    assert any(line[-1].endswith("ssh_host_ed25519_key") for line in lines)


def would(config: Path, host: str) -> dict[str, str]:
    done = subprocess.run(["ssh", "-G", "-F", config, host], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)


def test_ssh_takes_odd_paths_for_paths(guest: Path) -> None:
    of_guest, of_board = would(guest / "ssh_config", "b1-guest"), would(guest / "ssh_config", "b1")
    assert of_guest["identityfile"] == str(guest / "client_key").replace("%", "%%")  # replaced when it is opened
    assert of_guest["userknownhostsfile"] == str(guest / "known_hosts")
    assert (of_guest["port"], of_board["port"]) == ("2222", "2201")
    assert of_board["userknownhostsfile"] == str(guest.parent / "known")
    assert "proxycommand" not in of_board


def test_ssh_reads_the_key_and_jumps(guest: Path, tmp_path: Path) -> None:
    """By the real ssh: it says which key it would offer, and runs the command that leads through the board."""
    stand_in = tmp_path / "bin" / "ssh"
    stand_in.parent.mkdir()
    stand_in.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{shlex.quote(str(tmp_path / "asked"))}\nexit 1\n')
    stand_in.chmod(0o755)
    real = subprocess.run(["sh", "-c", "command -v ssh"], capture_output=True, text=True, check=True).stdout.strip()
    env = {**os.environ, "PATH": f"{stand_in.parent}:{os.environ['PATH']}", "SHELL": "/bin/sh"}
    config = guest / "ssh_config"
    done = subprocess.run([real, "-v", "-F", config, "b1-guest", "x"], capture_output=True, text=True, env=env)
    assert "/boards/b1/guest/client_key type 3\n" in done.stderr.replace("\r", "")  # ED25519, and not -1: no such file
    assert (tmp_path / "asked").read_text().splitlines() == ["-F", str(config), "-W", "[127.0.0.1]:2222", "b1"]


def test_keys_of_a_board_are_its_owner_s(tmp_path: Path) -> None:
    folder = tmp_path / ODD
    run_role_script(
        ROLES / "board_image" / "files" / "identity.sh",
        NAME="b1",
        FOLDER=str(folder),
        ROTATE="no",
        ADDRESS="192.0.2.7",
        AUTHORIZED_KEYS="",
        **of_ssh(folder),
    )
    assert {name: mode for name, mode in modes(folder).items() if mode[-2:] != "00"} == {}
    assert folder.stat().st_mode & 0o777 == 0o700
    found = would(folder / "ssh_config", "b1")
    assert found["userknownhostsfile"] == str(folder / "known_hosts")


@pytest.mark.parametrize("become", [False, True])
def test_what_is_private_here_is_private_on_the_board(become: bool, tmp_path: Path) -> None:
    """Also when it was brought readable before, as older versions of the action did."""
    key, program, old = tmp_path / "key", tmp_path / "program", tmp_path / "old"
    for path, mode in ((key, 0o600), (program, 0o644), (old, 0o600)):
        path.write_text(path.name)
        path.chmod(mode)
    there = tmp_path / "it's there; {{ x }}"
    there.mkdir()
    (there / "old").write_text("old")
    (there / "old").chmod(0o755)
    (tmp_path / "look.sh").write_text("stat -c '%a %n' \"$THERE\"/*\n")
    task = {
        "name": "Bring",
        "rtvirt.testbed.remote_script": {
            "script": [str(tmp_path / "look.sh")],
            "environment": {"THERE": "{{ there }}"},
            "uploads": "{{ dict(there_files | zip(here_files)) }}",
        },
        "become": become,
    }
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    play: list[dict[str, Any]] = [
        {"name": "Ask", "hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": [task]}
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    files = ("key", "old", "program")
    given = json.dumps(
        {
            "there": {"__ansible_unsafe": str(there)},
            "there_files": [{"__ansible_unsafe": str(there / name)} for name in files],
            "here_files": [str(tmp_path / name) for name in files],
        }
    )
    (tmp_path / "given.json").write_text(given)
    command = [BIN / "ansible-playbook", "-i", "localhost,", "-e", "@given.json", "play.yml"]
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG), "ANSIBLE_BECOME_EXE": "sudo"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    if become and "sudo" in done.stdout and "not found" in done.stdout:
        pytest.skip("no sudo here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert modes(there) == {"key": "0o700", "old": "0o700", "program": "0o755"}


def test_scripts_that_handle_keys_hide_what_they_write() -> None:
    """What is made of keys on a board or in the cache, by the scripts that make it."""
    for path in (
        "board_image/files/card.sh",
        "virtual_board/files/start_board.sh",
        "virtual_board/files/keep_snapshot.sh",
    ):
        assert "\numask 077" in (ROLES / path).read_text(), path
    start = (ROLES / "guest" / "files" / "start_guest.sh").read_text()
    assert '(umask 077; cat "$@" >"$run/guest.initrd")' in start


def test_an_initramfs_with_keys_is_the_owner_s(tmp_path: Path) -> None:
    """The lines of start_guest.sh that make it, where an older version has left one that everybody may read."""
    text = (ROLES / "guest" / "files" / "start_guest.sh").read_text()
    begin = text.index('  rm -f "$run/guest.initrd"')
    lines = text[begin : text.index("\n  huge_pages=", begin)]
    (tmp_path / "guest.initrd").write_text("old")
    (tmp_path / "guest.initrd").chmod(0o644)
    script = f'run={tmp_path}; give_up() {{ exit 1; }}; set -- /etc/hostname; f() {{ {lines}\n}}; umask 022; f "$@"'
    subprocess.run(["sh", "-c", script], check=True)
    assert modes(tmp_path) == {"guest.initrd": "0o600"}


@pytest.mark.parametrize("path", ["/a\nb", "/a/${HOME}/b"])
def test_what_ssh_cannot_be_told_is_said(path: str) -> None:
    with pytest.raises(InputError, match="which OpenSSH cannot be told; use a folder without"):
        ssh_config.quote(path)


def test_sockets_have_a_short_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "nowhere"))
    folder = ssh_config.socket_folder(f"{tmp_path}/{ODD}{'x' * 300}")
    assert len(str(folder)) < 60 and str(folder).isprintable() and " " not in str(folder)
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert folder != ssh_config.socket_folder(f"{tmp_path}/another")


SHOW = """\
- name: Show
  hosts: virtual-cb2, virtual-cb2-guest
  gather_facts: false
  tasks:
    - name: Show what ssh is called with
      ansible.builtin.copy:
        content: "{{ {'args': ansible_ssh_common_args, 'sockets': ansible_control_path_dir, 'given': given}
          | to_json }}"
        dest: "{{ here }}/{{ inventory_hostname }}.json"
        mode: '0600'
      delegate_to: localhost
      vars:
        ansible_connection: local
        ansible_python_interpreter: "{{ ansible_playbook_python }}"
"""


def test_the_default_lab_works_in_any_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through rtvirt's own way to start Ansible, with braces in what it is given."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ODD))
    (tmp_path / "show.yml").write_text(SHOW)
    given = {"given": f"/results {ODD}", "here": str(tmp_path)}
    outcome = run_playbook(tmp_path / "show.yml", collection.VIRTUAL_LAB, given, log_dir=tmp_path / ODD / "log")
    assert outcome.ok, outcome.failures
    boards = tmp_path / ODD / "rtvirt" / "boards" / "virtual-cb2"
    for host, folder in (("virtual-cb2", boards), ("virtual-cb2-guest", boards / "guest")):
        found = json.loads((tmp_path / f"{host}.json").read_text())
        assert shlex.split(found["args"]) == ["-F", str(folder / "ssh_config")]
        assert found["sockets"] == str(ssh_config.socket_folder(str(folder)))
        assert found["given"] == given["given"]
