#!/bin/sh
# What the 32-bit kernel says of itself from user space, one fact per line.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
fact() { echo "rtvirt: $1=$2"; }

fact version "$(busybox uname -v)"
fact release "$(busybox uname -r)"
fact realtime "$(busybox cat /sys/kernel/realtime)"
fact online "$(busybox cat /sys/devices/system/cpu/online)"
fact model "$(busybox tr -d '\0' </proc/device-tree/model)"
seconds=0 # a card and a USB network card are found a moment later
until [ -e /sys/block/mmcblk0 ] && [ -e /sys/class/net/eth0 ] || [ "$seconds" -ge 20 ]; do
  busybox sleep 1
  seconds=$((seconds + 1))
done
fact card "$(busybox cat /sys/block/mmcblk0/size)"
fact ethernet "$(busybox basename "$(busybox readlink -f /sys/class/net/eth0/device/driver)")"
fact watchdog "$(busybox cat /sys/class/watchdog/watchdog0/identity /sys/class/watchdog/watchdog0/device/driver/uevent; busybox ls /dev/watchdog0)"
fact tracers "$(busybox mount -t tracefs tracefs /sys/kernel/tracing && busybox cat /sys/kernel/tracing/available_tracers)"
fact end "$(busybox cut -d ' ' -f 1 /proc/uptime)"
while :; do busybox sleep 60; done
