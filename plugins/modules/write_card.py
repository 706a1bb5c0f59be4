"""Documentation of the action plugin write_card, where ansible-doc finds it; nothing of it runs on a host."""

DOCUMENTATION = r"""
name: write_card
short_description: write a card image to an SD card in a reader, and read it back
description:
  - Runs on the controller, whatever host the task is for. Needs root, or the right to write to the device.
  - Refuses a device that is not plainly a card which nobody uses; in check mode that is all it does.
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
options:
  image:
    description: The card image. Without it nothing is written; the task only says, in C(msg), which cards there are.
    type: path
  device:
    description:
      - Where the card is, as a name under /dev/disk/by-id or /dev/disk/by-path. A loop device or a file of the card's
        size stands in for one. Without it the task fails, and says which cards there are.
    type: str
    default: ''
  card_gb:
    description:
      - The size that is printed on the card, in GB. A device that is larger than that many GiB is refused, as it is
        something else.
    type: int
    default: 32
"""
