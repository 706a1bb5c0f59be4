"""Documentation of the action plugin store_matrix, for ansible-doc; no module code runs on a host."""

DOCUMENTATION = r"""
name: store_matrix
short_description: store a matrix with its results
description:
  - Writes C(matrix.json) into the folder of the matrix in the results folder, with all cells of the matrix and what is
    known of their boards, so that a copy of the folder can be reported without the matrix's file and the inventory.
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
options:
  matrix: {description: 'The matrix, a name or a path.', type: str, required: true}
  results_dir: {description: The results folder., type: path, required: true}
  vars_dir: {description: The folder of the catalogues., type: path, required: true}
  repetitions:
    description: How often each experiment is repeated; V(0) for as often as the matrix says.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Store the matrix
  rtvirt.testbed.store_matrix:
    matrix: smoke
    results_dir: results
    vars_dir: "{{ playbook_dir }}/vars"
"""
