# shellcheck shell=sh
# ISOLATED: list of cores; REALTIME: 0 or 1.
found=$(cat /sys/devices/system/cpu/isolated)
[ "$found" = "$ISOLATED" ] || fail "The cores '$found' are isolated, expected '$ISOLATED'."
found=$(cat /sys/kernel/realtime 2>/dev/null || echo 0)
[ "$found" = "$REALTIME" ] || fail "/sys/kernel/realtime is $found, expected $REALTIME."
