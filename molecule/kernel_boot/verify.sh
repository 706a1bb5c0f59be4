# ISOLATED: list of cores; REALTIME: 0 or 1.
isolated=$(cat /sys/devices/system/cpu/isolated)
[ "$isolated" = "$ISOLATED" ] || fail "The cores '$isolated' are isolated, expected '$ISOLATED'."
realtime=$(cat /sys/kernel/realtime 2>/dev/null || echo 0)
[ "$realtime" = "$REALTIME" ] || fail "/sys/kernel/realtime is $realtime, expected $REALTIME."
