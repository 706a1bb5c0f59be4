"""A Debian server: a copy of this machine, with a user who has sudo and a password; for tests as root.

Its root is an overlay over this machine's, dropped afterwards, so packages can be installed in it. It shares this
machine's kernel, whose settings (/proc, /sys) it can only read, and it has no kernel threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssh_board import Board, started_board

USER, PASSWORD = "worker", "secret of the worker"
# Without what the roles look for, and with sudo, from Debian's archive unless this machine has it.
_START = """\
set -e
key=$(cat "$1/client.pub")
shift
mount -t tmpfs tmpfs /mnt
mkdir /mnt/changes /mnt/work /mnt/server
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/changes,workdir=/mnt/work /mnt/server
cd /mnt/server
mount --rbind /dev dev
mount -t proc proc proc
mount --bind /sys sys
for folder in proc sys; do mount -o remount,bind,ro "$folder"; done
for folder in run root tmp; do mount -t tmpfs tmpfs "$folder"; done
chmod 755 root
chmod 1777 tmp
exec chroot . sh -c '
set -e
export DEBIAN_FRONTEND=noninteractive
{
  command -v sudo || { apt-get -qq update; apt-get -qq install --yes --no-install-recommends sudo; }
  apt-get -qq purge --yes rt-tests python3-apt
} >/tmp/apt.log 2>&1 || { cat /tmp/apt.log >&2; exit 1; }
useradd --create-home --shell /bin/sh USER
echo "USER:PASSWORD" | chpasswd
echo "USER ALL=(ALL) ALL" >/etc/sudoers.d/USER
for home in /root /home/USER; do
  mkdir -p -m 700 $home/.ssh
  echo "$0" >$home/.ssh/authorized_keys
done
chown -R USER: /home/USER
exec dropbear -F -E "$@"
' "$key" "$@"
""".replace("USER", USER).replace("PASSWORD", PASSWORD)


@contextmanager
def started_server(folder: Path) -> Iterator[Board]:
    """A server that is on, with its keys in a folder."""
    with started_board(folder, name="server", start=_START, starts_within_s=300) as server:
        yield server


def as_user(**variables: Any) -> dict[str, Any]:
    """Variables of a play: Ansible connects as the user, and knows the password that sudo asks for."""
    return {"ansible_user": USER, "ansible_become_password": PASSWORD, **variables}
