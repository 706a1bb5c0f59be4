"""Documentation of the action plugin measure_cell, for ansible-doc; no module code runs on a host."""

DOCUMENTATION = r"""
name: measure_cell
short_description: measure one cell and store its record
description:
  - Runs one command on the machine where the latency is measured, which needs a shell and cyclictest.
  - A cell that fails is recorded with its reason and does not fail the task, so that the other cells are measured.
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
options:
  cell:
    description: The cell, as the filter rtvirt.testbed.plan returns it.
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
    description: Key C(expects) of the kernel's catalogue entry.
    type: dict
    required: true
  guest_kernel_expects:
    description: Key C(expects) of the guest kernel's catalogue entry, for a cell in the guest.
    type: dict
  board:
    description: C(facts) read back from the board before the cell, and the C(seconds) that reading took.
    type: dict
  sealed_folder:
    description: Folder of the machine started by C(rtvirt.testbed.sealed_machine) that measures the cell, to wait for.
    type: path
  sealed_limit_s:
    description: Seconds without output after which that machine is stopped.
    type: int
    default: 600
  emulator_file:
    description: File on the controller with version, arguments and warning of the emulator.
    type: path
  is_measured:
    description:
      - Record the end of a cell that a task before has measured, by O(board_after) or O(failure).
    type: bool
    default: false
  board_after:
    description:
      - C(facts) read back from the board after the cell, the C(seconds) that reading took, and the C(files) that were
        returned with them.
    type: dict
  failure:
    description: Record the cell as failed, with this reason, and run nothing.
    type: str
  counts:
    description: Whether it is a cell of the run, rather than another run of it, such as a traced one.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Measure a cell of the plan
  rtvirt.testbed.measure_cell:
    cell: "{{ cell }}"
    matrix_name: smoke
    results_dir: "{{ rtvirt_results_dir }}"
    kernel_expects: "{{ rtvirt_kernels[cell.kernel].expects }}"
    board: "{{ state_before }}"
"""

RETURN = r"""
cell_id:
  description: Id of the cell, when its record is written.
  type: str
  returned: when the cell has ended
status:
  description: V(done), V(failed) or V(measured).
  type: str
  returned: always
reason:
  description: Why it failed.
  type: str
  returned: always
seconds:
  description: How long it took.
  type: float
  returned: always
counts:
  description: As the option.
  type: bool
  returned: always
"""
