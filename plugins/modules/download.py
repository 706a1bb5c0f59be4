"""Documentation of the action plugin download, for ansible-doc; no module code runs on a host."""

DOCUMENTATION = r"""
name: download
short_description: fetch and verify files and trees of commits into the controller's cache
description:
  - A file is accepted if its SHA-256 is that of its entry; without one, that in a list signed with the entry's key;
    without one, that recorded by the operator for its URL. With none of them the file is refused, or its SHA-256 is
    recorded if that is permitted.
  - Needs curl; gpgv for signed lists and git for commits.
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
options:
  downloads:
    description:
      - What to fetch, as in the kernel catalogue. A file is C(url) with C(sha256), or with C(signed_sums) (C(url)
        and C(fingerprint)), or with neither. The tree of a commit is C(url) and C(commit), its full id.
    type: list
    elements: dict
    required: true
  mirror:
    description:
      - Folder that is searched before the network. It holds a file as <host>/<path> or just as <file name>, and a
        repository by its name, with or without C(.git).
    type: path
  keyring:
    description: File with the public keys of signed lists, as C(gpg --export) writes it.
    type: path
  sums:
    description: The operator's file of recorded sums, one line C(<sha256>  <URL>) each.
    type: path
  record:
    description: Whether an unknown checksum may be added to the operator's file.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Fetch the sources of Linux
  rtvirt.testbed.download:
    downloads:
      - url: https://cdn.kernel.org/pub/linux/kernel/v6.x/linux-6.12.tar.xz
        sha256: "{{ linux_sha256 }}"
  register: sources
"""

RETURN = r"""
paths:
  description: Path of each download, in their order; empty strings in check mode for those that would be fetched.
  type: list
  elements: str
  returned: always
sums:
  description: The SHA-256 or the commit of each.
  type: list
  elements: str
  returned: always
"""
