"""Documentation of the action plugin wait_for_boot, for ansible-doc; no module code runs on a host."""

DOCUMENTATION = r"""
name: wait_for_boot
short_description: wait until a board answers, after a reboot if requested
description:
  - Needs only a shell on the board, and recognizes a new boot by its boot id.
  - Gives up early when the console shows that this boot panicked, unless it is a trial, or that the emulator has ended.
    Console output from before the task belongs to another boot, except for an emulator that was just started, whose
    log begins with the boot.
  - Fails at once when the board answers with an SSH host key other than the known one.
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
options:
  reboot:
    description: Reboot first.
    type: bool
    default: false
  timeout_s:
    description: Limit in seconds of the controller's clock; doubled for a trial, which may take two boots and a reset.
    type: int
    default: 600
  trial:
    description: The boot is a trial. After a panic the task waits for the board to boot the last good kernel.
    type: bool
    default: false
  power_command:
    description:
      - Command on the controller that switches the board's power off and on. Run once when the board does not answer
        in time or is given up early; the task then waits again.
    type: str
  console:
    description: Console log of the board on the controller.
    type: path
  pid_file:
    description: File with the process id of the board's emulator.
    type: path
"""

EXAMPLES = r"""
- name: Reboot the board
  rtvirt.testbed.wait_for_boot:
    reboot: true
    timeout_s: 300
"""

RETURN = r"""
boot_id:
  description: The kernel's id of the boot.
  type: str
  returned: when the board answers
seconds:
  description: How long it took.
  type: float
  returned: when the board answers
"""
