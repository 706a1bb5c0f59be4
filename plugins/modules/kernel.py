"""Documentation of the action plugin kernel, where ansible-doc finds it; nothing of it runs on a host."""

DOCUMENTATION = r"""
name: kernel
short_description: make kernels of the catalogue on the controller, each once
description:
  - Fetches and verifies what a kernel is made from, builds it, and keeps it in the cache by the content of all that
    went in.
  - Works on the controller, whatever host the task is for.
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
options:
  names:
    description: Entries of the catalogue to make, by name.
    type: list
    elements: str
    required: true
  catalogue:
    description: The kernel catalogue; playbooks/vars/kernels.yml explains its keys.
    type: dict
    required: true
  files:
    description: Folder of the build scripts and of C(config/), the configuration fragments.
    type: path
    required: true
  mirror:
    description: Folder that is looked at before the network.
    type: path
  keyring:
    description: File of public keys that may sign lists of sums.
    type: path
  sums_file:
    description: File of the operator's recorded sums.
    type: path
  record:
    description: Record the sum of a download that has none yet.
    type: bool
    default: false
  jobs:
    description: How many compilers run at once; 0 means as many as there are cores.
    type: int
    default: 0
"""
