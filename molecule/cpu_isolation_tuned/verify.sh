# shellcheck shell=sh
# The role's values, beside a tuned that runs; irqbalance, which would undo them, does not.
[ "$(sysctl -n kernel.sched_rt_runtime_us)" = -1 ] || fail "Real-time tasks are throttled: $(sysctl -n kernel.sched_rt_runtime_us)."
[ "$(sysctl -n kernel.timer_migration)" = 0 ] || fail "Timers migrate: $(sysctl -n kernel.timer_migration)."
[ "$(systemctl is-active tuned)" = active ] || fail "tuned is $(systemctl is-active tuned), expected active."
[ "$(systemctl is-active irqbalance)" = inactive ] || fail "irqbalance is $(systemctl is-active irqbalance), expected inactive."
