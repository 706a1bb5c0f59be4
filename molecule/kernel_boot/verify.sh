# shellcheck shell=sh
# ISOLATED: list of cores; REALTIME: 0 or 1; ON_TRIAL: yes if the running kernel was booted on trial, no if it came back as the default.
found=$(cat /sys/devices/system/cpu/isolated)
[ "$found" = "$ISOLATED" ] || fail "The cores '$found' are isolated, expected '$ISOLATED'."
found=$(cat /sys/kernel/realtime 2>/dev/null || echo 0)
[ "$found" = "$REALTIME" ] || fail "/sys/kernel/realtime is $found, expected $REALTIME."
# On trial, a kernel has its watchdog's driver before it waits for its disk, with the longest time. Debian's has it as a module.
[ "$ON_TRIAL" = yes ] || exit 0
found=$(dmesg | grep -m 2 -e 'i6300ESB timer.*heartbeat=' -e 'EXT4-fs.*mounted filesystem' | head -n 1)
case $found in *heartbeat=2046*) ;; *) fail "The kernel's first word of watchdog or disk is '$found', expected heartbeat=2046." ;; esac
