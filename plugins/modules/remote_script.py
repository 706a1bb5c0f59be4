"""Documentation of the action plugin remote_script, where ansible-doc finds it; nothing of it runs on a host."""

DOCUMENTATION = r"""
name: remote_script
short_description: run a sh script on a host that may have nothing but a shell
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
description:
  - Runs POSIX sh scripts of the controller on the task's host, several as one, in one command over the open connection.
    The host needs a shell and nothing else.
  - A script reports with the shell functions C(changed SENTENCE), C(fact NAME VALUE), C(file NAME PATH),
    C(fail SENTENCE) and C(remove PATH...), which are there when it begins, or writes rows of a table as
    C(@row TABLE NAME=VALUE ... NAME=VALUE), of which the last value may hold spaces.
  - It fails when a script says C(fail), when it ends with another status than 0, and when its reply was cut off.
  - The variable E(RTVIRT_CHECK_MODE) of a script is V(yes) in check mode and V(no) otherwise, and E(RTVIRT_OWNER_PID)
    is the process on the controller that the play runs for.
options:
  script:
    description:
      - The script on the controller; several run as one, in order, functions before what calls them.
      - >-
        In check mode it runs only when each of them has the line C(# check mode: safe), by which its author says that
        it changes nothing while E(RTVIRT_CHECK_MODE) is V(yes). Otherwise the task is skipped, and nothing is sent.
    type: list
    elements: path
    required: true
  uploads:
    description:
      - "Files to bring first if they differ: path there to path here. They are there whole or as they were."
      - In check mode they are compared, and none is brought.
    type: dict
    default: {}
  input:
    description:
      - File on the controller that the script reads as its standard input.
      - In check mode nothing is sent then, and the task counts as changed.
    type: path
  environment:
    description: Variables for the script.
    type: dict
    default: {}
attributes:
  check_mode:
    support: partial
    description: Runs only scripts that say that they are safe.
  diff_mode:
    support: full
    description: Shows what a script says that it has changed, or would change, a line each.
"""

EXAMPLES = r"""
- name: Read a board's state
  rtvirt.testbed.remote_script:
    script: "{{ query('rtvirt.testbed.scripts', 'board_state') }}"
  register: found

- name: Say which kernel runs
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
  description: What was changed, or would be in check mode, a sentence each.
  type: list
  elements: str
  returned: always
facts:
  description: Facts by name; tables among them are lists of rows.
  type: dict
  returned: always
files:
  description: The text of files that the script sent, by name.
  type: dict
  returned: always
stdout_lines:
  description: Lines of its output that are no report.
  type: list
  elements: str
  returned: when it ran
seconds:
  description: What the command took, by the controller's clock.
  type: float
  returned: when it ran
"""
