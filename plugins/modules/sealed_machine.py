"""Documentation of the action plugin sealed_machine, for ansible-doc; no module code runs on a host."""

DOCUMENTATION = r"""
name: sealed_machine
short_description: start a sealed machine that measures the cells of one guest group, or end it
description:
  - QEMU emulates the machine on the controller. It has no disk and no network, measures the cells from power-on,
    and powers itself off. It ends with the playbook. Its folder is in use until that has ended or has stopped it.
  - C(rtvirt.testbed.measure_cell) records its answers for each cell.
version_added: 0.2.0
author: rtvirt maintainers (@rtvirt)
options:
  folder:
    description: The machine's folder on the controller.
    type: path
    required: true
  state:
    description:
      - V(ended) ends the machine of the folder and frees the folder, unless another run uses it, whose machine goes on.
        It takes the folder alone; V(started) takes all options without a default.
      - V(taken) makes this run the user of the folder and starts nothing, as of a folder that stands for all machines
        of a board, so that a second run is told once. It ends with the playbook, or with V(ended).
    type: str
    choices: [started, ended, taken]
    default: started
  wait:
    description: Whether to wait while another run uses the folder, rather than fail.
    type: bool
    default: false
  cells:
    description: The cells of one guest group of a boot, in the order of the plan.
    type: list
    elements: dict
  trace_threshold_us:
    description:
      - Trace the one cell that is given, on board and guest, until a wake-up is later than so many microseconds; 0 for
        a machine that measures. C(rtvirt.testbed.store_trace) takes the answers.
    type: int
    default: 0
  guests:
    description: "Images of the role guest_image: C(kernel), C(flavour) and C(folder) of each."
    type: list
    elements: dict
    default: []
  base:
    description: The base initramfs of sealed machines.
    type: path
  kernel:
    description: The kernel image.
    type: path
  kernel_params:
    description: Kernel parameters, in addition to those of every sealed machine.
    type: list
    elements: str
    default: []
  qemu:
    description: Folder that contains bin/qemu-system-aarch64.
    type: path
  qemu_version:
    description: Version of QEMU.
    type: str
  lockstep:
    description: Folder that contains lockstep.so and lockstep.c, which it was compiled from.
    type: path
  cpus:
    description: Number of cores that Linux uses.
    type: int
  spare_vcpus_to:
    description: Total number of vCPUs, with those that Linux never starts.
    type: int
  memory_mib:
    description: The machine's memory, in MiB.
    type: int
"""

EXAMPLES = r"""
- name: Start the machine of a guest group
  rtvirt.testbed.sealed_machine:
    folder: "{{ lookup('rtvirt.testbed.cache') }}/boards/virtual-cb2/sealed-1"
    cells: "{{ boot.cells }}"
    base: "{{ base }}/base.cpio.gz"
    kernel: "{{ kernel }}/vmlinuz"
    qemu: "{{ qemu }}"
    qemu_version: 10.0.3
    lockstep: "{{ lockstep }}"
    cpus: 2
    spare_vcpus_to: 16
    memory_mib: 1024

- name: End it
  rtvirt.testbed.sealed_machine:
    folder: "{{ lookup('rtvirt.testbed.cache') }}/boards/virtual-cb2/sealed-1"
    state: ended
"""

RETURN = r"""
key:
  description: The key of all that the machine is made of.
  type: str
  returned: when started
folder:
  description: The machine's folder.
  type: str
  returned: when started
"""
