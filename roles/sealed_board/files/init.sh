#!/bin/sh
# A sealed machine: no disk and no network. Runs the queue that it was given from power-on, and switches itself off.
/bin/busybox mount -t proc proc /proc
/bin/busybox mkdir -p /sbin /usr/sbin  # the next command links only into folders that are there
/bin/busybox --install -s  # links to what /proc/self/exe names, so after proc is there
mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1  # an initramfs has no console of its own before this
mkdir -p /dev/shm /dev/pts
mount -t sysfs sys /sys
mount -t debugfs debug /sys/kernel/debug
mount -t devpts devpts /dev/pts
for folder in /dev/shm /tmp /run /var; do mount -t tmpfs tmpfs "$folder"; done
mkdir -p /var/lib/rtvirt /var/tmp /run/rtvirt
ln -sfn /proc/self/fd /dev/fd
ip link set lo up
export PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin  # before busybox's own, what came from packages
sh /queue/run_queue
poweroff -f
