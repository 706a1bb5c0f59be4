# shellcheck shell=sh
# check mode: safe
# Say how far the wall clock (CLOCK_REALTIME) is ahead of CLOCK_MONOTONIC on this machine, in ns: the fact `realtime_offset_ns`. The kernel's list of timers has it;
# a kernel without high resolution timers does not.
offset=$(awk '$1 == "clock" && $2 == "1:" { seen = 1 } seen && $1 == ".offset:" { print $2; exit }' /proc/timer_list 2>/dev/null)
[ -z "$offset" ] || fact realtime_offset_ns "$offset"
