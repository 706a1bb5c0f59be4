# shellcheck shell=sh
# In the guest: the board's Debian under its own name, what a cell needs, and a scratch disk that can be written to.
[ "$(hostname)" = molecule-board-guest ] || fail "The guest calls itself $(hostname)."
[ -d /run/systemd/system ] && [ -e /etc/debian_version ] || fail "The guest is no Debian with systemd."
[ "$(systemctl is-system-running)" = running ] || fail "Units failed: $(systemctl --failed --plain --no-legend | tr '\n' ' ')"
cyclictest --quiet --mlockall --threads=1 --policy=fifo --priority=80 --interval=1000 --loops=100 >/dev/null ||
  fail "cyclictest does not run in the guest."
rtvirt-bitcount --iterations 1 >/dev/null || fail "rtvirt-bitcount does not run in the guest."
disk=/dev/disk/by-id/virtio-scratch
name=$(readlink -f "$disk") || fail "The guest has no $disk."
[ "$(cat "/sys/block/${name##*/}/size")" = 32768 ] || fail "The scratch disk has $(cat "/sys/block/${name##*/}/size") sectors, expected 32768."
dd if=/dev/urandom of=/tmp/written bs=64k count=16 2>/dev/null
dd if=/tmp/written of="$disk" bs=64k oflag=direct 2>/dev/null || fail "The scratch disk cannot be written to."
dd if="$disk" bs=64k count=16 iflag=direct 2>/dev/null | cmp - /tmp/written || fail "The scratch disk does not keep what is written to it."
