"""Documentation of the action plugin store_trace, for ansible-doc; no module code runs on a host."""

DOCUMENTATION = r"""
name: store_trace
short_description: explain a traced run of a cell and store it beside the cell's record
description:
  - Writes a folder of its own, which is no record and counts nowhere as a measurement.
  - The answers of the machines are O(begun), O(broke) and O(ended), or are waited for in O(sealed_folder).
  - With O(failure), stores why there is no trace, and warns; other options beside O(cell), O(matrix_name) and
    O(results_dir) are not given then.
version_added: 0.2.0
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
  without_dir:
    description: A results folder that has the record of the cell without a trace.
    type: path
  with_dir:
    description: A results folder that has the record of the cell with a trace that nothing stopped.
    type: path
  asked:
    description: The threshold that was asked for, in us, or V(auto).
    type: str
  threshold_us:
    description: The threshold in us.
    type: int
  begun:
    description: What C(begin_trace) answered, C(facts) by side.
    type: dict
  broke:
    description: C(facts) that C(break_cyclictest) answered.
    type: dict
  ended:
    description: What C(end_trace) answered, C(facts) and C(files) by side.
    type: dict
  sealed_folder:
    description: Folder of the machine started by C(rtvirt.testbed.sealed_machine) that traces the cell, to wait for.
    type: path
  sealed_limit_s:
    description: Seconds without output after which that machine is stopped.
    type: int
    default: 600
  failure:
    description: Why the cell could not be traced.
    type: str
"""

EXAMPLES = r"""
- name: Store the trace of a cell on the board
  rtvirt.testbed.store_trace:
    cell: "{{ cell }}"
    matrix_name: smoke
    results_dir: "{{ rtvirt_results_dir }}"
    without_dir: /tmp/without
    with_dir: /tmp/with
    asked: auto
    threshold_us: 140
    begun: {host: "{{ begun.facts }}"}
    broke: "{{ broke.facts }}"
    ended: {host: {facts: "{{ ended.facts }}", files: "{{ ended.files }}"}}
"""

RETURN = r"""
path:
  description: The folder.
  type: str
  returned: when there is a trace
sentences:
  description: The explanation in words.
  type: list
  elements: str
  returned: when there is a trace
traced_cell:
  description: Id of the cell.
  type: str
  returned: when there is a trace
"""
