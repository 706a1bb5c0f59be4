"""Documentation of the action plugin write_card, for ansible-doc; no module code runs on a host."""

DOCUMENTATION = r"""
name: write_card
short_description: write a card image to an SD card in a reader, and read it back
description:
  - Runs on the controller, whatever host the task is for. Needs root, or write permission for the device.
  - Refuses a device unless it is clearly an unused card. In check mode the device is only checked.
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
options:
  image:
    description: The card image. Without it nothing is written; the task only lists the cards in C(msg).
    type: path
  device:
    description:
      - The card's name under /dev/disk/by-id or /dev/disk/by-path. A loop device or a file of the card's size is
        accepted as well. Without it the task fails, and lists the cards.
    type: str
    default: ''
  card_gb:
    description:
      - The nominal size of the card, in GB. A device that is larger than that many GiB is refused, since it is probably
        another disk.
    type: int
    default: 32
"""

EXAMPLES = r"""
- name: Write a card
  rtvirt.testbed.write_card:
    image: /srv/cards/cb2.img
    device: usb-Generic_STORAGE_DEVICE_000000001206-0:0
"""

RETURN = r"""
device:
  description: The device.
  type: str
  returned: success
bytes:
  description: Bytes written.
  type: int
  returned: when written
sha256:
  description: Of what was read back.
  type: str
  returned: when written
seconds:
  description: How long it took.
  type: float
  returned: when written
"""
