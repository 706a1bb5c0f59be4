"""Documentation of the action plugin sealed_machine, where ansible-doc finds it; nothing of it runs on a host."""

DOCUMENTATION = r"""
name: sealed_machine
short_description: start a sealed machine that measures the cells of one boot
description:
  - QEMU emulates the machine on the controller. It has no disk and no network, works through the cells from power-on,
    and switches itself off. It ends with the playbook.
  - C(rtvirt.testbed.measure_cell) takes what it says of each cell.
version_added: 0.2.0
author: rtvirt maintainers (@rtvirt)
options:
  folder:
    description: The machine's folder on the controller.
    type: path
    required: true
  cells:
    description: The cells of one boot, in the order of the plan.
    type: list
    elements: dict
    required: true
  guests:
    description: "Images of the role guest_image: C(kernel), C(flavour) and C(folder) of each."
    type: list
    elements: dict
    default: []
  base:
    description: The initramfs that every sealed machine has.
    type: path
    required: true
  kernel:
    description: The kernel, as an image that QEMU starts.
    type: path
    required: true
  kernel_params:
    description: Parameters of that kernel, beside those of every sealed machine.
    type: list
    elements: str
    default: []
  qemu:
    description: Folder that has bin/qemu-system-aarch64.
    type: path
    required: true
  qemu_version:
    description: Its version.
    type: str
    required: true
  cpus:
    description: Cores that Linux uses.
    type: int
    required: true
  spare_vcpus_to:
    description: How many QEMU has with those that Linux never starts.
    type: int
    required: true
  memory_mib:
    description: The machine's memory.
    type: int
    required: true
"""
