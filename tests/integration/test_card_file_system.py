"""The root file system of a card: the oldest kernel of the catalogue mounts it, whatever mke2fs.conf says."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from rtvirt_runner.catalogue import collection

BUILD = collection.ROOT / "roles/board_image/files/build_image.sh"
# Debian 13's, and what may come after it.
NEWER = """[defaults]
  base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
  default_mntopts = acl,user_xattr
  blocksize = 4096
  inode_size = 256
[fs_types]
  ext4 = {
    features = has_journal,extent,huge_file,flex_bg,metadata_csum,metadata_csum_seed,64bit,orphan_file
  }
  default = {
    features = casefold
  }
"""


def test_the_features_are_those_of_an_old_kernel(tmp_path: Path) -> None:
    (tmp_path / "mke2fs.conf").write_text(NEWER)
    text = BUILD.read_text()
    named = re.search(r"^ext4_features=(\S+)$", text, re.MULTILINE)
    assert named
    assert 'mke2fs -q -t ext4 -T default -O "$ext4_features"' in text
    image = tmp_path / "root.img"
    environment = {**os.environ, "MKE2FS_CONFIG": str(tmp_path / "mke2fs.conf")}
    command = ["mke2fs", "-q", "-t", "ext4", "-T", "default", "-O", named[1], str(image), "32M"]
    subprocess.run(command, check=True, env=environment)
    told = subprocess.run(["dumpe2fs", "-h", image], check=True, capture_output=True, text=True).stdout
    features = set(re.search(r"Filesystem features: *(.*)", told)[1].split())  # type: ignore[index]
    assert features == set(named[1].split(",")) - {"none"}
    assert not features & {"metadata_csum_seed", "orphan_file", "casefold", "encrypt", "verity", "fast_commit"}
