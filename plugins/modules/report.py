"""Documentation of the action plugin report, for ansible-doc; no module code runs on a host."""

DOCUMENTATION = r"""
name: report
short_description: write the page and the table of a matrix from its results
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
  only:
    description: Only cells of these boards and experiments, or with these ids, count as missing; the page has all.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Write the page
  rtvirt.testbed.report:
    matrix: smoke
    results_dir: results
    vars_dir: "{{ playbook_dir }}/vars"
"""

RETURN = r"""
page:
  description: Path of the page.
  type: str
  returned: success
missing:
  description: C(id) and C(reason) of each cell that is not done; the reason is empty if it was not measured.
  type: list
  elements: dict
  returned: success
sentences:
  description: Sentences that name these cells, one for each reason.
  type: list
  elements: str
  returned: success
"""
