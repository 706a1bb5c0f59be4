"""Roles on a Debian server, as a user with sudo and a password: refusals, check mode, packages."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from debian_server import as_user, started_server
from ssh_board import Board, begin, said

from rtvirt_runner.catalogue import collection

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a server of its own namespaces needs root")

BIN = Path(sys.executable).parent
SPLIT = {"cpu_isolation_host_cpus": "0", "cpu_isolation_guest_cpus": "1"}
SUDO = {"ansible_become": True}
# As pyenv's are for versions that are not chosen: they run nothing, and Ansible prefers their names.
STAND_INS = """for name in python3.13 python3.12; do
  command -v $name || { printf '#!/bin/sh\nexit 127\n' >/usr/bin/$name; chmod 755 /usr/bin/$name; }
done"""
NOT_ROOT = "set become, or connect as root"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    with started_server(tmp_path_factory.mktemp("server")) as started:
        yield started


def apply(
    server: Board,
    role: str,
    *words: str,
    fails: bool = False,
    env: Mapping[str, str] | None = None,
    **variables: Any,
) -> str:
    """Apply a role as the user; returns what Ansible said, in one line."""
    task = {"name": "Apply", "ansible.builtin.include_role": {"name": f"rtvirt.testbed.{role}"}}
    return said(begin(server.folder, [server], [task], as_user(**variables), env, words), fails)


def packages(server: Board) -> str:
    return server.sh("dpkg-query --show --showformat '${db:Status-Abbrev}${Package} '")


def folders(server: Board) -> str:
    return server.sh("ls -d /run/rtvirt /var/lib/rtvirt /usr/local/bin/rtvirt-* 2>/dev/null || :")


@pytest.mark.parametrize("words", [[], ["--check"]], ids=["apply", "check"])
def test_a_user_who_is_not_root_is_refused(server: Board, words: list[str]) -> None:
    """By each role on its own, in one play."""
    applied = [
        *(("cpu_isolation", "main"), ("cpu_isolation", "verify"), ("guest", "absent"), ("kernel_boot", "original")),
        *(("kvm_host", "main"), ("measure", "main"), ("workloads", "main")),
    ]
    tasks = [
        {
            "name": "Apply and tell how it failed",
            "block": [{"ansible.builtin.include_role": {"name": f"rtvirt.testbed.{role}", "tasks_from": tasks_from}}],
            "rescue": [
                {"ansible.builtin.debug": {"msg": f"{role} {tasks_from} said {{{{ ansible_failed_result.msg }}}}"}}
            ],
        }
        for role, tasks_from in applied
    ]
    output = said(begin(server.folder, [server], tasks, as_user(**SPLIT), words=words))
    for role, tasks_from in applied:
        assert re.search(rf"{role} {tasks_from} said [^.;]*; {NOT_ROOT}", output), output
    assert f"rescued={len(applied)}" in output and "changed=0" in output
    assert folders(server) == ""


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"cpu_isolation_settings": ["irq"]}, "unknown setting 'irq'"),
        ({"cpu_isolation_guest_cpus": "99"}, "cpu_isolation_guest_cpus is '99', and core 99 does not exist"),
        ({"cpu_isolation_host_cpus": "99"}, "cpu_isolation_host_cpus is '99', and core 99 does not exist"),
        ({"cpu_isolation_guest_cpus": "0-1"}, "expected no core in both; take core 0 out of one"),
        ({"cpu_isolation_guest_cpus": ""}, "cpu_isolation_guest_cpus is empty, expected a list of cores"),
        ({"cpu_isolation_guest_cpus": "one"}, "cpu_isolation_guest_cpus: "),
        ({"cpu_isolation_isolcpus": "plan"}, "value of cpu_isolation_isolcpus must be one of"),
        ({"cpu_isolation_setings": []}, "expected cpu_isolation_settings; correct its name"),
        ({"rtvirt_keep_board": True}, "expected rtvirt_keep_boards; correct its name"),
    ],
)
def test_what_cannot_be_meant_is_refused(server: Board, variables: Mapping[str, Any], sentence: str) -> None:
    output = apply(server, "cpu_isolation", fails=True, **{**SPLIT, **SUDO, **variables})
    assert sentence in output and "changed=0" in output
    assert folders(server) == ""


def test_a_variable_that_nothing_reads_is_warned_about(server: Board) -> None:
    output = apply(server, "measure", "--check", **SUDO, rtvirt_isolaton_cores="1")
    assert output.count("[WARNING]: rtvirt_isolaton_cores is no variable of rtvirt, so nothing reads it") == 1


def test_check_mode_says_which_settings_would_change(server: Board) -> None:
    output = apply(
        server, "cpu_isolation", "--check", "--diff", cpu_isolation_settings=["timer_migration"], **SPLIT, **SUDO
    )
    assert "timer_migration: /proc/sys/kernel/timer_migration from 1 to 0" in output and "changed=1" in output
    assert folders(server) == ""


def test_check_mode_says_which_packages_would_be_installed(server: Board) -> None:
    before = packages(server)
    tools = {"cyclictest": "rt-tests", "sh": "dash", "/no/such/file": "no-such-package"}
    output = apply(server, "controller", "--check", "--diff", controller_tools=tools)
    assert "would install no-such-package rt-tests" in output and "changed=1" in output
    output = apply(server, "measure", "--check", "--diff", **SUDO)
    assert "would install rt-tests" in output and "changed=1" in output
    assert packages(server) == before and folders(server) == ""


def test_packages_that_must_not_or_cannot_be_installed_are_named(server: Board) -> None:
    tools = {"cyclictest": "rt-tests"}
    command = "run: sudo apt-get install --no-install-recommends rt-tests"
    output = apply(server, "controller", controller_tools=tools, controller_install=False, fails=True)
    assert command in output
    output = apply(server, "controller", controller_tools=tools, fails=True, ansible_become_password="wrong")
    assert command in output and "give the password of sudo with -K" in output


def test_a_package_is_installed_with_sudo_once(server: Board) -> None:
    tools = {"cyclictest": "rt-tests"}
    assert "changed=1" in apply(server, "controller", controller_tools=tools)  # sudo for what needs it
    assert "changed=0" in apply(server, "controller", controller_tools=tools)
    server.sh("apt-get -qq purge --yes rt-tests python3-apt")
    server.sh(STAND_INS)
    output = apply(server, "measure", **SUDO)
    assert "changed=1" in output and "failed=0" in output
    assert server.sh("command -v cyclictest") == "/usr/bin/cyclictest\n"
    assert "changed=0" in apply(server, "measure", **SUDO)


def test_tags_choose_between_looking_and_installing(server: Board) -> None:
    server.sh("apt-get -qq purge --yes rt-tests")
    task = {"name": "Apply", "ansible.builtin.import_role": {"name": "rtvirt.testbed.measure"}}
    looked, installed = (
        said(begin(server.folder, [server], [task], as_user(**SUDO), words=["--tags", tag]))
        for tag in ("verify", "packages")
    )
    assert "changed=0" in looked and "changed=1" in installed
    assert server.sh("command -v cyclictest") == "/usr/bin/cyclictest\n"


@pytest.mark.parametrize(
    ("number", "words", "says"),
    [
        (0, ["--check", "--diff"], "timer_migration: /proc/sys/kernel/timer_migration from 1 to 0"),
        (1, ["--check", "--diff"], "timer_migration: /proc/sys/kernel/timer_migration from 1 to 0"),
        (2, [], "changed=0"),
        (3, [], "timer_migration: /proc/sys/kernel/timer_migration is '1', expected '0'"),
    ],
)
def test_a_playbook_of_the_page_is_played(server: Board, number: int, words: list[str], says: str) -> None:
    """With two cores in the place of eight. What it would set this machine's kernel refuses: it is only checked."""
    page = (collection.ROOT / "docs" / "one-role.md").read_text()
    playbooks = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(playbooks) == 4
    (server.folder / "site.yml").write_text(playbooks[number].replace("0-1", "0").replace("2-7", "1"))
    hosts = {"server": server.in_lab() | as_user()}
    (server.folder / "servers.yml").write_text(yaml.safe_dump({"servers": {"hosts": hosts}}))
    done = subprocess.run(
        [BIN / "ansible-playbook", "-i", "servers.yml", "site.yml", *words],
        cwd=server.folder,
        env={**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG), "ANSIBLE_HOST_KEY_CHECKING": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert says in " ".join(done.stdout.split())
    assert (done.returncode == 0) == (number != 3)


@pytest.mark.parametrize(
    ("role", "variables"),
    [
        ("guest", {"guest_kernel": "debian-rt-amd64"}),
        ("kernel_boot", {"kernel_boot_kernel": "debian-rt-amd64"}),
        ("kvm_host", {"kvm_host_probe_kernel": "debian-rt-amd64"}),
        ("workloads", {}),
    ],
)
def test_check_mode_goes_through_where_nothing_was_built(
    server: Board, role: str, variables: Mapping[str, Any], tmp_path: Path
) -> None:
    output = apply(server, role, "--check", env={"XDG_CACHE_HOME": str(tmp_path)}, **SUDO, **variables)
    assert "failed=0" in output and "changed=0" not in output
    assert list(tmp_path.iterdir()) == [] and folders(server) == ""
