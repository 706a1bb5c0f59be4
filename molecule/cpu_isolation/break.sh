# shellcheck shell=sh
# What somebody may do by hand: throttle real-time tasks again, and let an interrupt go to the core that is kept.
echo 950000 >/proc/sys/kernel/sched_rt_runtime_us
for irq in /proc/irq/[0-9]*; do
  ! echo 1 >"$irq/smp_affinity_list" || break
done 2>/dev/null
changed "$irq and sched_rt_runtime_us"
