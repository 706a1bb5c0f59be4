"""The project of docs/example-project.md on a server: with the archive and the wheel alone, there and back.

The server is a PC as Debian's installer leaves it, with the packages that the roles would install, since it reaches no
archive. The tests go together.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from environments import Environment, make_environment
from installed_pc import Machine, started_pc
from released import install, make_release

from rtvirt_runner.build import artifacts
from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.settings import SETTINGS, files
from rtvirt_runner.machine.ssh_config import socket_folder
from rtvirt_runner.matrix.results import Record, ResultsTree

pytestmark = [
    pytest.mark.slow(
        exercises=[
            *("roles/cpu_isolation", "roles/guest", "roles/kernel_boot", "roles/kvm_host", "roles/measure"),
            *("playbooks/reset.yml", "playbooks/tasks/reset_boot.yml", "release", "docs/example-project.md"),
        ]
    ),
    pytest.mark.asserts_on("trials", "convergence", "idempotence"),
    pytest.mark.xdist_group("example project"),
]
PROJECT = Path(__file__).parent / "example_project"
USER, PASSWORD = "worker", "secret of the worker"
PACKAGES = ["procps", "python3", "qemu-system-x86", "rt-tests", "sudo"]
# KVM of a kernel with PREEMPT_RT needs a constant TSC, which QEMU's emulation does not offer by itself.
CPU = "max,x-force-features=on,+invtsc"
LIMIT_S = 1800
# What settings write to; interrupts have other numbers after each boot.
VALUES = [pattern for pattern in files(SETTINGS) if not pattern.startswith("/proc/irq/[")]
STATE = """
uname -r
sed 's/BOOT_IMAGE=[^ ]*//' /proc/cmdline
cat /sys/devices/system/cpu/isolated
for file in VALUES; do [ ! -r $file ] || echo "$file $(cat $file 2>/dev/null)"; done
grub-editenv /boot/grub/grubenv list
systemctl list-unit-files --no-legend
systemctl list-units --type service --state running --no-legend --plain | cut -d ' ' -f 1
dpkg-query --show
getent passwd
find / -xdev \\( -path /tmp -o -path /var/tmp -o -path /var/log -o -path /var/cache -o -path /var/lib/systemd \\) \
  -prune -o -type d -printf '%p d %m %u %g\\n' -o -printf '%p %y %m %u %g %s %l\\n' | sort
find /boot /etc /usr/local -type f -exec sha256sum {} +
""".replace("VALUES", " ".join(VALUES))


@dataclass
class Project:
    """The project in a folder, the environment that it has, and its server with the state that it was in before."""

    folder: Path
    environment: Environment
    server: Machine
    before: list[str] = field(default_factory=list)

    def play(self, *words: str, program: str = "ansible-playbook") -> str:
        """Run a program of Ansible's in the project's folder; returns what it said."""
        cache = artifacts.cache_folder()
        variables = {"XDG_CACHE_HOME": str(cache.parent)}  # what is built is there for others too
        variables |= {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(socket_folder(str(self.folder)))}
        options = ["-i", "servers.yml", "--become-password-file", "password"]
        done = self.environment.run(program, *options, *words, folder=self.folder, limit_s=LIMIT_S, **variables)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr
        return done.stdout

    def state(self) -> list[str]:
        """Whatever of the server a run could change, a line each."""
        return self.server.shell(STATE).splitlines()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = make_release(tmp_path_factory.mktemp("release"))
    root = tmp_path_factory.mktemp("example") / "env"
    environment = make_environment(root, "rtvirt-runner[run,report]", wheel=made.wheel)
    install(made.archive, environment)
    folder = Path(shutil.copytree(PROJECT, root.parent / "project"))
    machine = tmp_path_factory.mktemp("server")
    with started_pc(machine, "server", PACKAGES, memory_mib=2048, disk_mib=4096, cpu=CPU) as server:
        server.shell(
            f"useradd --create-home --shell /bin/bash --groups sudo {USER}; echo '{USER}:{PASSWORD}' | chpasswd"
        )
        server.shell(f"cp -R /root/.ssh /home/{USER}; chown -R {USER}: /home/{USER}/.ssh")
        (folder / "ssh_config").write_text(server.ssh_config(USER))
        (folder / "password").write_text(PASSWORD)
        yield Project(folder, environment, server)


def test_its_files_are_those_of_the_page() -> None:
    page = (collection.ROOT / "docs" / "example-project.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert blocks == [(PROJECT / name).read_text() for name in ("servers.yml", "isolate.yml", "matrix.yml")]


def test_a_core_is_isolated(project: Project) -> None:
    project.play("server", "-m", "ansible.builtin.ping", program="ansible")  # leaves ~/.ansible and sudo's note
    project.before = project.state()
    project.play("isolate.yml", "--diff")
    assert project.server.shell("cat /proc/sys/kernel/sched_rt_runtime_us /proc/irq/default_smp_affinity") == "-1\n1"
    assert project.play("isolate.yml").count("changed=0") == 1


def test_ten_cells_are_measured_and_reported(project: Project) -> None:
    project.play("rtvirt.testbed.full_matrix", "-e", "rtvirt_matrix=matrix.yml")
    records = list(ResultsTree(project.folder / "results").load_records("server"))
    assert len(records) == 10 and all(isinstance(record, Record) for record in records)
    assert {record.status.status for record in records} == {"done"}
    assert all(record.system["board"]["realtime"] for record in records)
    for record in records:
        if record.cell.place == "guest":
            (vcpu,) = record.system["board"]["vcpu_threads"]
            assert (vcpu["cpus"], vcpu["policy"], vcpu["priority"]) == ("1", "fifo", 1)
            assert record.system["board"]["guest_accelerator"] == "kvm"
    assert project.server.shell("cat /sys/devices/system/cpu/isolated") == "1"
    page = (project.folder / "results/server/report/index.html").read_text()
    assert "What virtualization costs on the server" in page


def test_all_is_taken_back(project: Project) -> None:
    assert project.state() != project.before
    project.play("rtvirt.testbed.reset")
    before, after = project.before, project.state()
    assert [line for line in before if line not in after] == []
    assert [line for line in after if line not in before] == []
    assert after == before
    assert "changed=0" in project.play("rtvirt.testbed.reset")
