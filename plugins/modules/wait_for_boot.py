"""Documentation of the action plugin wait_for_boot, where ansible-doc finds it; nothing of it runs on a host."""

DOCUMENTATION = r"""
name: wait_for_boot
short_description: wait until a board answers, after rebooting it if asked
description:
  - Needs a shell on the board and nothing else, and tells a new boot from the old one by its boot id.
  - Gives up early when the console shows that this boot panicked, unless it is a trial, or that the emulator has ended.
    What a console said before the waiting (or the reboot) began is of another boot, but for an emulator's, whose log
    begins with its board.
  - A board that answers with another SSH host key than is known of it is refused at once.
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
options:
  reboot:
    description: Reboot first.
    type: bool
    default: false
  timeout_s:
    description: Limit in seconds of our clock; twice that for a trial, which may take two boots and a watchdog.
    type: int
    default: 600
  trial:
    description: The boot is a trial. A panic is then followed by a boot of the last good kernel, which is waited for.
    type: bool
    default: false
  power_command:
    description:
      - Command on the controller that takes the board's power away and gives it back. Run once when the board does not
        answer in time or is given up early; it is then waited for again.
    type: str
  console:
    description: Console log of the board on the controller.
    type: path
  pid_file:
    description: File with the process id of the board's emulator.
    type: path
"""
