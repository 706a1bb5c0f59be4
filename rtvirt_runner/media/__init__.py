"""SD cards, block devices, and the files that a Raspberry Pi's firmware loads."""
