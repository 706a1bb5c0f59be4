# shellcheck shell=sh
# What tuned had set, and irqbalance running.
[ "$(sysctl -n kernel.sched_rt_runtime_us)" = 950000 ] || fail "kernel.sched_rt_runtime_us is $(sysctl -n kernel.sched_rt_runtime_us), expected 950000."
[ "$(sysctl -n kernel.timer_migration)" = 1 ] || fail "kernel.timer_migration is $(sysctl -n kernel.timer_migration), expected 1."
for unit in tuned irqbalance; do
  [ "$(systemctl is-active "$unit")" = active ] || fail "$unit is $(systemctl is-active "$unit"), expected active."
done
