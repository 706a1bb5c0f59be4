"""Documentation of the action plugin download, where ansible-doc finds it; nothing of it runs on a host."""

DOCUMENTATION = r"""
name: download
short_description: fetch files and trees of commits on the controller, verified, into the cache
description:
  - A file is believed when its SHA-256 is the one of its entry, else the one in a list signed with the entry's key,
    else the one that the operator has recorded for its URL. Without any of them it is refused, or recorded if that is
    permitted.
  - Needs curl; gpgv for signed lists and git for commits.
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
options:
  downloads:
    description:
      - What to fetch, as the kernel catalogue has it. A file is C(url) with C(sha256), or with C(signed_sums) (C(url)
        and C(fingerprint)), or with neither. The tree of a commit is C(url) and C(commit), its full id.
    type: list
    elements: dict
    required: true
  mirror:
    description:
      - Folder that is looked at before the network. A file is there as <host>/<path> or just as <file name>, a
        repository under its name, with or without C(.git).
    type: path
  keyring:
    description: File with the keys that sign lists, as C(gpg --export) writes it.
    type: path
  sums:
    description: The operator's file of recorded sums, one line C(<sha256>  <URL>) each.
    type: path
  record:
    description: Whether the sum of a file that nothing is known of may be added to the operator's file.
    type: bool
    default: false
"""
