#!/bin/sh
# A board with no network and no disk: runs the cells that it was given, and says on its console what they answer.
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s
mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t sysfs sys /sys
for cell in /cells/*; do
  echo "=== ${cell##*/}"
  sh "$cell"
done
echo "=== over"
poweroff -f
