#!/bin/sh
# The minimal guest: drivers, network, an SSH server. It says on its console when it can be reached.
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s  # links to what /proc/self/exe names, so after proc is there
mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1  # an initramfs has no console of its own before this
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /tmp
ln -sfn /proc/self/fd /dev/fd

# Only modules that this guest has a device for: on an emulated board ext4 alone takes seconds.
load() { /load_modules "/modules/order.$1"; }
for bus in /modules/order.virtio_mmio /modules/order.virtio_pci; do [ ! -e "$bus" ] || load "${bus#/modules/order.}"; done
for device in /sys/bus/virtio/devices/*/device; do
  case $(cat "$device") in
  0x0001) load virtio_net ;;
  0x0002) load virtio_blk ;;
  esac
done
# The scratch disk, if there is one, under the name that udev would give it; and the mailbox of a guest that has no network.
mkdir -p /dev/disk/by-id
mailbox=
for disk in /sys/block/vd*; do
  case $(cat "$disk/serial" 2>/dev/null) in
  scratch)
    load ext4
    ln -s "../../${disk##*/}" /dev/disk/by-id/virtio-scratch
    ;;
  mailbox) mailbox=/dev/${disk##*/} ;;
  esac
done

read -r words </proc/cmdline
for word in $words; do
  case $word in
  rtvirt.hostname=*) hostname "${word#*=}" ;;
  rtvirt.probe)  # all that was to be found out is whether a kernel and a program run
    echo "guest: up"
    poweroff -f
    ;;
  esac
done
ip link set lo up

# A disk through which the board asks: a number and a length in the first block, from the second on a script; the same of the answer from
# block 8192 on, whose first block comes last. A new number is a new script.
serve_mailbox() {
  answered=0
  while :; do
    blockdev --flushbufs "$mailbox"  # what was read before is not read again
    read -r number bytes <"$mailbox"
    if [ "$number" = "$answered" ]; then
      sleep 1  # a look costs an emulated board millions of instructions, and waiting none
      continue
    fi
    dd if="$mailbox" bs=512 skip=1 count=$(((bytes + 511) / 512)) 2>/dev/null | head -c "$bytes" >/tmp/asked
    sh </tmp/asked >/tmp/answer 2>/tmp/answer.err
    dd if=/tmp/answer of="$mailbox" bs=512 seek=8193 2>/dev/null
    sync
    printf '%s %s\n' "$number" "$(wc -c </tmp/answer)" | dd of="$mailbox" bs=512 seek=8192 conv=sync 2>/dev/null
    sync
    answered=$number
  done
}
if [ -n "$mailbox" ]; then
  echo "guest: ready"
  serve_mailbox
fi

for interface in /sys/class/net/e*; do interface=${interface##*/}; done
ip link set "$interface" up
ip address add 10.0.2.15/24 dev "$interface"

# -s -g: keys only; -F -E: in the foreground, errors to the console.
(while :; do dropbear -F -E -s -m -r /identity/dropbear_ed25519_host_key -D /identity -p 22; sleep 1; done) &
until grep -q ':0016 ' /proc/net/tcp; do sleep 0.1; done
echo "guest: ready"
while :; do sleep 86400; done
