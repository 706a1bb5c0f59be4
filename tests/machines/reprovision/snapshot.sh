# shellcheck shell=sh
# A board's effective state, in lines: every file of its root and boot partitions but what differs from boot to boot, and what runs.
cd /
find . ./boot -xdev -type f ! -path './tmp/*' ! -path './var/tmp/*' ! -path './var/log/*' ! -path './var/lib/systemd/*' ! -path './var/cache/*' ! -path './run/*' \
  ! -path './dev/*' ! -name '*.pyc' -exec sha256sum {} + | sort -k 2 | uniq
find . -xdev -type l -exec ls -d {} + | sort
cat /proc/cmdline /etc/machine-id
uname -a
sfdisk --dump /dev/mmcblk0
df --output=target,size / /boot
cat /sys/devices/system/cpu/isolated /sys/devices/system/cpu/online /proc/swaps /proc/sys/kernel/sched_rt_runtime_us
systemctl list-units --plain --no-legend --type=service --state=running,failed | cut -d ' ' -f 1
