# shellcheck shell=sh
# check mode: safe
# Read back the effective state of a machine, board or guest: the facts that decide a latency. With builtins where possible,
# since each process costs an emulated board tens of milliseconds.
read_fact() {
  [ -r "$2" ] || return 0
  case $2 in
  /proc/sys/*) value=$(cat "$2" 2>/dev/null) ;;  # the kernel returns a number whole or not at all, and read reads a byte at a time
  *) IFS= read -r value <"$2" 2>/dev/null || return 0 ;;
  esac
  fact "$1" "$value"
}

uname=$(uname -rvm)  # printed in this order, whatever the order of the options; only the version has spaces
version=${uname#* }
version=${version% *}
fact uname_r "${uname%% *}"
fact uname_v "$version"
fact machine "${uname##* }"
read_fact cmdline /proc/cmdline
# Not every kernel has /sys/kernel/realtime: mainline's PREEMPT_RT (6.12) does not.
case $version in *PREEMPT_RT*) fact realtime 1 ;; esac
read_fact realtime /sys/kernel/realtime
read_fact online_cpus /sys/devices/system/cpu/online
read_fact isolated_cpus /sys/devices/system/cpu/isolated
read_fact nohz_full_cpus /sys/devices/system/cpu/nohz_full
read_fact rt_runtime_us /proc/sys/kernel/sched_rt_runtime_us
read_fact rt_period_us /proc/sys/kernel/sched_rt_period_us
read_fact clocksource /sys/devices/system/clocksource/clocksource0/current_clocksource
read_fact governor /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor
read_fact timer_migration /proc/sys/kernel/timer_migration
read_fact irq_default_affinity /proc/irq/default_smp_affinity
read_fact transparent_hugepages /sys/kernel/mm/transparent_hugepage/enabled

# The kernel of a KVM guest logs which hypervisor it found.
hypervisor=$(dmesg 2>/dev/null | grep -m 1 'KVM: hypervisor services detected') && fact kvm_in_dmesg "$hypervisor"

for irq in /proc/irq/[0-9]*; do
  IFS= read -r cpus 2>/dev/null <"$irq/effective_affinity_list" || continue
  name=
  for entry in "$irq"/*/; do [ ! -d "$entry" ] || { entry=${entry%/}; name=${entry##*/}; }; done
  [ -z "$name" ] || printf '@row irqs irq=%s cpus=%s name=%s\n' "${irq##*/}" "$cpus" "$name"
done
