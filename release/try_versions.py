"""Try the wheel with series of ansible-core on Pythons that are here; prints a row of docs/versions.md for each pair.

    .venv/bin/python release/try_versions.py dist/rtvirt_runner-*.whl PYTHON... [--series 2.19 2.20 2.21]

Each pair gets an environment of its own, which pip fills from its index. In it, from an empty folder: `rtvirt plan`,
the page of a matrix of which nothing is measured, a role in check mode, and ansible-doc of plugins and roles.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROLE = """\
- name: Take a role
  hosts: all
  gather_facts: false
  vars: {cpu_isolation_settings: []}
  tasks:
    - name: Apply nothing
      ansible.builtin.import_role: {name: rtvirt.testbed.cpu_isolation}
    - name: Show
      ansible.builtin.debug:
        msg: "{{ ['isolcpus'] | rtvirt.testbed.isolation_kernel_params(host_cpus='0', guest_cpus='1') }}"
"""


class TrialError(RuntimeError):
    """What did not do what it should, and what it said last."""


def attempt(python: str, series: str, wheel: Path, folder: Path) -> str:
    """Install and run all; returns the row."""
    environment = folder / "env"
    _run([python, "-m", "venv", environment], folder)
    pip = [environment / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    _run([*pip, f"{wheel}[run,report]", f"ansible-core=={series}.*"], folder)
    version = "import platform, importlib.metadata as m; print(platform.python_version(), m.version('ansible-core'))"
    row = _run([environment / "bin" / "python", "-c", version], folder).split()
    work = folder / "work"
    work.mkdir()
    (work / "role.yml").write_text(ROLE)
    program = environment / "bin"
    _expect(r"first: .*: (\d+) cells, \1 pending", _run([program / "rtvirt", "plan"], work))
    listed = _run([program / "ansible-galaxy", "collection", "list", "rtvirt.testbed", "--format", "json"], work)
    (found,) = json.loads(listed)
    lab = Path(found) / "rtvirt/testbed/inventory/virtual"
    _expect("it was not measured", _run([program / "ansible-playbook", "rtvirt.testbed.report", "-i", lab], work, 2))
    role = [program / "ansible-playbook", "-i", "server,", "-c", "local", "--check", "role.yml"]
    _expect("isolcpus=managed_irq,domain,1", _run(role, work))
    _expect("rtvirt.testbed.measure_cell", _run([program / "ansible-doc", "-l", "rtvirt.testbed"], work))
    _expect("rtvirt.testbed.cpu_isolation", _run([program / "ansible-doc", "-t", "role", "-l", "rtvirt.testbed"], work))
    return f"| {row[0]} | {row[1]} | run |"


def _run(command: list[str | Path], folder: Path, status: int = 0) -> str:
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
    env = {**keep, "HOME": str(folder), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != status:
        raise TrialError(
            f"{' '.join(map(str, command))} ended with {done.returncode}: {(done.stdout + done.stderr)[-800:]}"
        )
    return done.stdout


def _expect(pattern: str, said: str) -> None:
    if not re.search(pattern, said):
        raise TrialError(f"{pattern} is not in what was said: {said[-800:]}")


def main() -> int:
    """Try each pair; the status is 1 if one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    parser.add_argument("--series", nargs="+", default=["2.19", "2.20", "2.21"])
    options = parser.parse_args()
    failed = False
    for python in options.pythons:
        for series in options.series:
            with tempfile.TemporaryDirectory(prefix="rtvirt-versions-") as name:
                try:
                    print(attempt(python, series, options.wheel.absolute(), Path(name)), flush=True)
                except TrialError as error:
                    failed = True
                    print(f"| {python} | {series} | failed |", flush=True)
                    print(f"{python} with ansible-core {series}: {error}", file=sys.stderr, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
