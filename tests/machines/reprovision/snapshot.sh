# shellcheck shell=sh
# A board's effective state, in lines: every file of its root and boot partitions but what differs from boot to boot, and what runs.
cd /
# What the image brought is told by mode, owner, size and time, everything else by its content: reading all of it takes an emulated board minutes.
find ./usr ! -type d ! -path './usr/local/*' ! -name '*.pyc' -printf '%M %U:%G %s %T@ %l %p\n' | sort
find . ./boot -xdev -type l ! -path './usr/*' -printf '%l %p\n' | sort
find . ./boot -xdev -type f ! -path './tmp/*' ! -path './var/tmp/*' ! -path './var/log/*' ! -path './var/lib/systemd/*' ! -path './var/cache/*' ! -path './run/*' \
  ! -path './dev/*' \( ! -path './usr/*' -o -path './usr/local/*' \) -exec cksum {} + | sort | uniq
cat /proc/cmdline /etc/machine-id
uname -a
sfdisk --dump /dev/mmcblk0
df --output=target,size / /boot
cat /sys/devices/system/cpu/isolated /sys/devices/system/cpu/online /proc/sys/kernel/sched_rt_runtime_us
systemctl list-units --plain --no-legend --type=service --state=running,failed | cut -d ' ' -f 1
