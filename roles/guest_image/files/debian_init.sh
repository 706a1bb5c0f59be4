#!/bin/sh
# The guest of flavour debian starts here: drivers, the board's Debian from the disk named root, what makes it this guest, its systemd.
bb=/bin/busybox
$bb mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1  # an initramfs has no console of its own before this
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
stop() {
  echo "guest: $*"
  $bb poweroff -f
}
/load_modules /modules/order

# The scratch disk may have got the first letter. It also gets the name that udev would give it.
$bb mkdir -p /dev/disk/by-id
tries=0 root=
until [ -n "$root" ]; do
  for disk in /sys/block/vd*; do
    serial=
    [ ! -r "$disk/serial" ] || read -r serial <"$disk/serial"  # fails, for want of a line's end, when it has read it all
    case $serial in
    root) root=/dev/${disk##*/} ;;
    scratch) $bb ln -sfn "../../${disk##*/}" /dev/disk/by-id/virtio-scratch ;;
    esac
  done
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || stop "the disk with Debian did not appear in 10 s; there are: $(echo /sys/block/*)"
  [ -n "$root" ] || $bb sleep 0.1
done
$bb mkdir -p /root
# All that is written is thrown away when the guest ends: nothing need wait for the disk.
$bb mount -t ext4 -o rw,noatime,nobarrier "$root" /root || stop "the disk with Debian could not be mounted"

name=guest
read -r words </proc/cmdline
for word in $words; do
  case $word in rtvirt.hostname=*) name=${word#*=} ;; esac
done
echo "$name" >/root/etc/hostname
$bb cp -a /overlay/. /root/ || stop "there was no room on the disk with Debian"
# Where the board's sshd looks for them too: there it is the card's boot partition.
$bb mkdir -p /root/boot/identity
$bb cp /identity/ssh_host_ed25519_key /identity/authorized_keys /root/boot/identity/ || stop "it was given no identity"
$bb chmod 600 /root/boot/identity/*

$bb ip link set lo up
for interface in /sys/class/net/e*; do interface=${interface##*/}; done
$bb ip link set "$interface" up
$bb ip address add 10.0.2.15/24 dev "$interface"

$bb mount --move /dev /root/dev
$bb umount /proc /sys
exec $bb switch_root /root /sbin/init
