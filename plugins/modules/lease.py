"""Documentation of the action plugin lease, for ansible-doc; no module code runs on a host."""

DOCUMENTATION = r"""
name: lease
short_description: take a board for this run, or release it
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
description:
  - Writes who holds the board, since when and what for, to C(/run/rtvirt-lease) on it. While another run holds the
    board, the task fails with a sentence that says so, or waits.
  - Each later command of this run on the board renews the lease and fails if another run has taken it. After a reboot
    of the board it is written again.
  - The lease of a run of this computer is over when the run's process has ended. That of another computer is over when
    nothing was heard of it for an hour of the board's clock, or for as long as its cell may take.
options:
  state:
    description:
      - V(taken) takes the board; V(released) releases it, if this run holds it.
    type: str
    choices: [taken, released]
    default: taken
  purpose:
    description: What the board is held for, as others are told.
    type: str
    default: a playbook
  wait:
    description: Whether to wait for a board that another run holds.
    type: bool
    default: false
  wait_s:
    description: Seconds after which waiting fails.
    type: int
    default: 86400
  take_over:
    description: Whether to take the board from another run, whose next command then fails.
    type: bool
    default: false
  preflight:
    description:
      - What is asked of the board. In the command that takes it, the board then tells whether it can do that. What
        limits the results is shown; a board that cannot is released again, and the task fails.
    type: dict
    suboptions:
      cpus:
        description: Lists of cores that are used.
        type: list
        elements: str
        default: []
      guest_cpus:
        description: Lists of cores that the guest gets.
        type: list
        elements: str
        default: []
      guest:
        description: Whether a guest runs.
        type: bool
        default: true
      may_emulate:
        description: Whether a guest may be emulated where KVM does not run.
        type: bool
        default: false
      other_kernel:
        description: Whether every guest runs on a kernel that is booted first, so that the running one needs no KVM.
        type: bool
        default: false
      clock:
        description: The board's clock; a virtual one is not compared with the controller's.
        type: str
        choices: [real, virtual]
        default: real
attributes:
  check_mode:
    support: full
    description: In check mode the lease is read, and neither taken nor released.
"""

EXAMPLES = r"""
- name: Take the board
  rtvirt.testbed.lease:
    purpose: maintenance

- name: Release the board
  rtvirt.testbed.lease:
    state: released
"""

RETURN = r"""
held:
  description: Whether another run holds the board; if not, the board did not answer.
  type: bool
  returned: when it could not be taken
waited_s:
  description: Seconds that the board was waited for.
  type: float
  returned: when taken
preflight:
  description: The checks, each with C(name), C(found), C(state) (ok, limits, cannot or unknown) and C(help).
  type: list
  elements: dict
  returned: when taken with preflight
"""
