"""Documentation of the action plugin measure_cell, where ansible-doc finds it; nothing of it runs on a host."""

DOCUMENTATION = r"""
name: measure_cell
short_description: measure one cell and store its record
description:
  - One command on the machine where the latency is measured; it needs nothing there but a shell and cyclictest.
  - A cell that fails is recorded with its reason and does not fail the task, so that the rest of the matrix goes on.
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
options:
  cell:
    description: The cell as rtvirt_runner.matrix made it.
    type: dict
    required: true
  matrix_name:
    description: Name of the matrix.
    type: str
    required: true
  results_dir:
    description: The results folder.
    type: path
    required: true
  kernel_expects:
    description: What the kernel's catalogue entry says must show.
    type: dict
    required: true
  guest_kernel_expects:
    description: The same of the guest's kernel, for a cell in the guest.
    type: dict
  board:
    description: Facts read back from the board before the cell, with the seconds that took.
    type: dict
  sealed_folder:
    description: Folder of a machine of C(rtvirt.testbed.sealed_machine) that measures the cell; it is waited for.
    type: path
  sealed_limit_s:
    description: Seconds without a word after which that machine is given up.
    type: int
    default: 600
  emulator_file:
    description: File on the controller with version, arguments and warning of the emulator.
    type: path
  failure:
    description: Record the cell as failed, with this reason, and run nothing.
    type: str
"""
