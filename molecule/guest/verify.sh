# shellcheck shell=sh
# In the guest: its name, its vCPU, its kernel, and what a cell needs.
[ "$(hostname)" = molecule-board-guest ] || fail "The guest calls itself $(hostname)."
[ "$(grep -c '^processor' /proc/cpuinfo)" = 1 ] || fail "The guest has $(grep -c '^processor' /proc/cpuinfo) vCPUs, expected 1."
[ "$(cat /sys/kernel/realtime)" = 1 ] || fail "The guest's kernel is not PREEMPT_RT."
cyclictest --quiet --mlockall --threads=1 --policy=fifo --priority=80 --interval=1000 --loops=100 >/dev/null ||
  fail "cyclictest does not run in the guest."
rtvirt-bitcount --iterations 1 >/dev/null || fail "rtvirt-bitcount does not run in the guest."
