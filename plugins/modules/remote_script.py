"""Documentation of the action plugin remote_script, for ansible-doc; no module code runs on a host."""

DOCUMENTATION = r"""
name: remote_script
short_description: run a sh script on a host that may have nothing but a shell
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
description:
  - Runs one or more POSIX sh scripts of the controller as one script on the task's host, in one command.
    The host needs only a shell.
  - A script reports with the shell functions C(changed SENTENCE), C(fact NAME VALUE), C(file NAME PATH),
    C(fail SENTENCE) and C(remove PATH...), which are defined before it, or by writing rows of a table as
    C(@row TABLE NAME=VALUE ... NAME=VALUE), of which the last value may hold spaces.
  - The task fails when a script calls C(fail) or ends with a status other than 0, and when its reply is incomplete.
  - The variable E(RTVIRT_CHECK_MODE) of a script is V(yes) in check mode and V(no) otherwise, and E(RTVIRT_OWNER_PID)
    is the id of the process on the controller that owns the run.
  - An answer of more than 16 MiB fails the task, and so does a command that takes longer than the task's C(timeout), by
    default 4 hours.
options:
  script:
    description:
      - Paths on the controller. Several scripts run as one, in order; functions come before their callers.
      - >-
        In check mode they run only if each of them has the line C(# check mode: safe), which declares that
        it changes nothing while E(RTVIRT_CHECK_MODE) is V(yes). Otherwise the task is skipped, and nothing is sent.
    type: list
    elements: path
    required: true
  uploads:
    description:
      - "Files to copy first if they differ: path on the host to path on the controller. Each is replaced atomically."
      - A file that only its owner may read here is so on the host; others can be read and run by everybody.
      - In check mode they are compared, and none is copied.
    type: dict
    default: {}
  input:
    description:
      - File on the controller, the standard input of the script.
      - In check mode nothing is sent, and the task is reported as changed.
    type: path
  environment:
    description: Variables for the script.
    type: dict
    default: {}
  needs_root:
    description:
      - Whether the task fails, before anything is copied or run, when the user who would run the script is not root.
        In check mode too.
    type: bool
    default: false
  exclusive:
    description:
      - Whether the script holds the host against other such scripts. What an ended run left behind there, processes and
        working folders, is ended first and named in the fact C(leftovers) and in a warning.
      - Such a script is sent once, whatever becomes of the connection, and ends with it.
      - Not together with O(input). In check mode nothing is held or ended.
    type: bool
    default: false
  lease_s:
    description:
      - On a board that this run has leased (M(rtvirt.testbed.lease)), seconds that the lease holds after the command.
        It is at least an hour.
    type: int
    default: 0
attributes:
  check_mode:
    support: partial
    description: Runs only scripts that are declared safe.
  diff_mode:
    support: full
    description: Shows the changes that a script reports, or would make, a line each.
"""

EXAMPLES = r"""
- name: Read a board's state
  rtvirt.testbed.remote_script:
    script: "{{ query('rtvirt.testbed.scripts', 'board_state') }}"
  register: found

- name: Show the running kernel
  ansible.builtin.debug:
    msg: "{{ found.facts.uname_r }}"

- name: Install a program
  rtvirt.testbed.remote_script:
    script: "{{ role_path }}/files/install.sh"
    uploads:
      /var/lib/bench/program: "{{ playbook_dir }}/program"
    environment:
      PREFIX: /usr/local
"""

RETURN = r"""
changes:
  description: Changes made, or in check mode to be made, a phrase each.
  type: list
  elements: str
  returned: always
facts:
  description: Facts by name; a table is a list of rows.
  type: dict
  returned: always
files:
  description: Text of the files that the script returned, by name.
  type: dict
  returned: always
stdout_lines:
  description: The other lines of its output.
  type: list
  elements: str
  returned: when it ran
seconds:
  description: Wall time of the command, by the controller's clock.
  type: float
  returned: when it ran
"""
