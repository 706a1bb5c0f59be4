# shellcheck shell=sh
# check mode: safe
# Verify that the host that answers is the board that was started. CPUS, NAME.
found=$(grep -c '^processor' /proc/cpuinfo)
[ "$found" = "$CPUS" ] || fail "The board runs $found cores, expected $CPUS; is maxcpus on its command line right?"
name=$(cat /proc/sys/kernel/hostname)
# shellcheck disable=SC2153  # the task sets it
[ "$name" = "$NAME" ] || fail "This board calls itself $name, expected $NAME."
