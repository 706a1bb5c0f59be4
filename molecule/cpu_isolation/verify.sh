# shellcheck shell=sh
# What the role says, asked in another way.
[ "$(sysctl -n kernel.sched_rt_runtime_us)" = -1 ] || fail "Real-time tasks are throttled: $(sysctl -n kernel.sched_rt_runtime_us)."
case $(chrt -p "$(pgrep -x ktimers/1)") in *SCHED_FIFO*priority:\ 3) ;; *) fail "ktimers/1 is not at FIFO 3: $(chrt -p "$(pgrep -x ktimers/1)")" ;; esac
[ "$(cat /proc/irq/default_smp_affinity | tr -d 0,)" = 1 ] || fail "New interrupts may go to $(cat /proc/irq/default_smp_affinity)."
