#!/bin/sh
# The board's initramfs: load the modules of the disk and its file system, mount the root, hand over to its init.
bb=/bin/busybox
$bb mount -t devtmpfs dev /dev
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
/load_modules /modules/order

root=/dev/vda2
for word in $($bb cat /proc/cmdline); do
  case $word in --) break ;; root=*) root=${word#root=} ;; esac
done
wanted=$root
tries=0
until case $wanted in LABEL=*) root=$($bb findfs "$wanted" 2>/dev/null) ;; esac; [ -b "$root" ]; do
  tries=$((tries + 1))
  if [ "$tries" -gt 100 ]; then
    echo "initramfs: $wanted did not appear in 10 s; block devices: $($bb ls /sys/class/block)"
    $bb reboot -f
  fi
  $bb sleep 0.1
done
$bb mkdir -p /root
$bb mount -t ext4 -o rw,noatime "$root" /root || $bb reboot -f
$bb mount --move /dev /root/dev
$bb umount /proc /sys
exec $bb switch_root /root /sbin/init
