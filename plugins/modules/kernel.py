"""Documentation of the action plugin kernel, for ansible-doc; no module code runs on a host."""

DOCUMENTATION = r"""
name: kernel
short_description: build kernels of the catalogue on the controller, each once
description:
  - Fetches and verifies the sources of a kernel, builds it, and keeps it in the cache under a key of all its inputs.
  - Works on the controller, whatever host the task is for.
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
options:
  names:
    description: Names of the catalogue entries to build.
    type: list
    elements: str
    required: true
  catalogue:
    description: The kernel catalogue; docs/kernels.md describes its keys.
    type: dict
    required: true
  files:
    description: Folder of the build scripts and of C(config/), the configuration fragments.
    type: path
    required: true
  mirror:
    description: Folder that is searched before the network.
    type: path
  keyring:
    description: File of public keys that may sign lists of checksums.
    type: path
  sums_file:
    description: File of the operator's recorded checksums.
    type: path
  record:
    description: Record the checksum of a download that has none yet.
    type: bool
    default: false
  jobs:
    description: Number of parallel make jobs; 0 means one per core.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Build a kernel
  rtvirt.testbed.kernel:
    names: [linux-6.12-rt]
    catalogue: "{{ lookup('rtvirt.testbed.catalogue', 'kernels') }}"
    files: /srv/kernel_build/files
"""

RETURN = r"""
results:
  description: For each kernel C(name), C(architecture), C(path), C(key), C(release), C(seconds), C(bytes), C(changed).
  type: list
  elements: dict
  returned: always
"""
