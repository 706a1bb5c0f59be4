#!/bin/sh
# What a 32-bit kernel says of itself from user space, one fact per line. Busybox runs its programs by their names alone.
/bin/busybox mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tracefs tracefs /sys/kernel/tracing
exec </dev/console >/dev/console 2>&1
fact() { echo "rtvirt: $1=$2"; }
driver() { basename "$(readlink -f "/sys/class/$1/device/driver")"; }
uptime_s() { cut -d . -f 1 /proc/uptime; }

echo 1 >/proc/sys/kernel/printk # from here on the kernel is silent, or it would write into these lines
began=$(uptime_s)
sleep 2
fact slept_s "$(($(uptime_s) - began))"
fact version "$(uname -v)"
fact release "$(uname -r)"
fact realtime "$(cat /sys/kernel/realtime)"
fact online "$(cat /sys/devices/system/cpu/online)"
fact model "$(tr -d '\0' </proc/device-tree/model)"
fact tracers "$(cat /sys/kernel/tracing/available_tracers)"
fact watchdog "$(driver watchdog/watchdog0)"
seconds=0 # a card and a USB network card are found a moment later
until { [ -e /sys/block/mmcblk0 ] && [ -e /sys/class/net/eth0 ]; } || [ "$seconds" -ge 20 ]; do
  sleep 1
  seconds=$((seconds + 1))
done
fact card "$(cat /sys/block/mmcblk0/size)"
fact ethernet "$(driver net/eth0)"
fact end "$(uptime_s)"
while :; do sleep 60; done
