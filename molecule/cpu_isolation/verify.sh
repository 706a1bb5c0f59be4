# shellcheck shell=sh
# What the role says, asked in another way.
[ "$(sysctl -n kernel.sched_rt_runtime_us)" = -1 ] || fail "Real-time tasks are throttled: $(sysctl -n kernel.sched_rt_runtime_us)."
# only a kernel with PREEMPT_RT has this thread
if thread=$(pgrep -x ktimers/1); then
  case $(chrt -p "$thread") in *SCHED_FIFO*priority:\ 3) ;; *) fail "ktimers/1 is not at FIFO 3: $(chrt -p "$thread")" ;; esac
elif [ "$(cat /sys/kernel/realtime 2>/dev/null)" = 1 ]; then
  fail "There is no thread ktimers/1."
fi
[ "$(cat /proc/irq/default_smp_affinity | tr -d 0,)" = 1 ] || fail "New interrupts may go to $(cat /proc/irq/default_smp_affinity)."
