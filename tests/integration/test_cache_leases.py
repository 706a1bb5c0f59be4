"""What a task of a playbook found is in use until the playbook ends, though the task's own process ends before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from rtvirt_runner.build import cache
from rtvirt_runner.catalogue import collection

PLAYBOOK = """\
- name: Build, and prune beside it
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Build something
      rtvirt.testbed.artifact:
        name: thing
        script: "{{ playbook_dir }}/build.sh"
      register: made
    - name: Prune
      ansible.builtin.command: "{{ rtvirt }} cache prune --to 0"
      register: pruned
      changed_when: true
      failed_when: pruned.rc not in [0, 1]
    - name: Ask what is left
      ansible.builtin.command: "{{ rtvirt }} cache --json"
      register: left
      changed_when: false
    - name: Write what came of it
      ansible.builtin.copy:
        content: "{{ left.stdout }}"
        dest: "{{ playbook_dir }}/left.json"
        mode: "0644"
    - name: Look at what was built
      ansible.builtin.command: "cat {{ made.path }}/file"
      changed_when: false
"""


def test_a_playbook_keeps_what_its_tasks_found_until_it_ends(tmp_path: Path) -> None:
    (tmp_path / "prune.yml").write_text(PLAYBOOK)
    (tmp_path / "build.sh").write_text('echo built >"$OUT/file"')
    programs = Path(sys.executable).parent
    env = {
        **os.environ,
        "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "XDG_CACHE_HOME": str(tmp_path),
    }
    command = [programs / "ansible-playbook", "-i", "localhost,", "-e", f"rtvirt={programs}/rtvirt", "prune.yml"]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as playbook:
        said, _ = playbook.communicate()
    assert playbook.returncode == 0, said
    (entry,) = json.loads((tmp_path / "left.json").read_text())["entries"]
    assert (entry["kind"], entry["in_use_by"]) == ("artifact", [f"run {playbook.pid}"])
    assert [removed.family for removed in cache.prune(tmp_path / "rtvirt", 0).removed] == ["thing"]
