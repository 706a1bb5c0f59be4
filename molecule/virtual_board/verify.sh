# shellcheck shell=sh
# Cores, virtualization and clock of the emulated board, as its Linux sees them.
[ "$(cat /sys/devices/system/cpu/online)" = 0-1 ] || fail "The cores $(cat /sys/devices/system/cpu/online) are online, expected 0-1."
[ "$(cat /proc/sys/kernel/hostname)" = molecule-board ] || fail "The board calls itself $(cat /proc/sys/kernel/hostname)."
[ "$(cat /sys/kernel/realtime)" = 1 ] || fail "The kernel that runs is not PREEMPT_RT."
[ -c /dev/kvm ] || fail "There is no /dev/kvm."
[ "$(date +%Y)" = 2026 ] || fail "The board's clock does not begin at the fixed date: $(date)."
case $(systemctl is-system-running) in running | starting) ;; *) fail "Units failed: $(systemctl --failed --plain --no-legend)" ;; esac
