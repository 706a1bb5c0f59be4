# shellcheck shell=sh
# check mode: safe
# Read what decides whether this machine can be measured, before anything on it is changed: facts whose names begin with preflight_, and tables
# preflight_*, which rtvirt_runner/machine/preflight.py judges. Changes nothing; with HWLAT_S, seconds, the tracer hwlat runs for that long. Needs: kvm_said.sh of
# the role kvm_host.
preflight_fact() {  # NAME FILE: its first line
  [ -r "$2" ] && IFS= read -r value 2>/dev/null <"$2" || return 0
  fact "preflight_$1" "$value"
}

# The user, and what it may do.
while read -r key value rest; do
  case $key in
  Uid:)
    user=${rest%%[!0-9]*}
    fact preflight_user "$user"
    ;;
  CapEff:) fact preflight_capabilities "$value" ;;
  esac
done </proc/self/status
sudo=none
[ "${user:-0}" = 0 ] || ! command -v sudo >/dev/null || { sudo=password; ! sudo -n true 2>/dev/null || sudo=yes; }
fact preflight_sudo "$sudo"
missing=
for tool in chrt taskset; do command -v "$tool" >/dev/null || missing="$missing $tool"; done
fact preflight_missing_tools "${missing# }"
if command -v chrt >/dev/null; then said=$(chrt -f 1 true 2>&1) && said=ok; else said='chrt is not installed'; fi
fact preflight_fifo "$(printf '%s' "$said" | tail -n 1)"

# The kernel and the cores.
uname=$(uname -rvm)
fact preflight_release "${uname%% *}"
fact preflight_machine "${uname##* }"
case $uname in *PREEMPT_RT*) fact preflight_realtime 1 ;; *) preflight_fact realtime /sys/kernel/realtime ;; esac
preflight_fact cmdline /proc/cmdline
for list in present online isolated nohz_full; do preflight_fact "$list" "/sys/devices/system/cpu/$list"; done
preflight_fact clocksource /sys/devices/system/clocksource/clocksource0/current_clocksource
preflight_fact idle_driver /sys/devices/system/cpu/cpuidle/current_driver
for core in /sys/devices/system/cpu/cpu[0-9]*; do
  [ -d "$core" ] || continue
  siblings='' capacity='' governor='' latency=
  for file in siblings=topology/thread_siblings_list capacity=cpu_capacity governor=cpufreq/scaling_governor; do
    IFS= read -r value 2>/dev/null <"$core/${file#*=}" || continue
    case ${file%%=*} in siblings) siblings=$value ;; capacity) capacity=$value ;; governor) governor=$value ;; esac
  done
  # The longest time that it takes to leave an idle state that is not disabled, in us.
  for idle in "$core"/cpuidle/state[0-9]*; do
    disabled='' value=''
    IFS= read -r disabled 2>/dev/null <"$idle/disable"
    [ "$disabled" != 0 ] || IFS= read -r value 2>/dev/null <"$idle/latency"
    case $value in '' | *[!0-9]*) continue ;; esac
    [ "${latency:-0}" -ge "$value" ] && [ -n "$latency" ] || latency=$value
  done
  printf '@row preflight_cores core=%s siblings=%s capacity=%s governor=%s idle_us=%s\n' "${core##*/cpu}" "$siblings" "$capacity" "$governor" "$latency"
done

# KVM: the device, what the processor has for it, and on ARM the interrupt by which a guest's interrupt controller tells of its maintenance.
kvm=absent
[ ! -e /dev/kvm ] || { kvm=closed; ! (exec 9<>/dev/kvm) 2>/dev/null || kvm=opens; }
fact preflight_kvm "$kvm"
flags=
while read -r key _ rest; do
  case $key in flags | Features) ;; *) continue ;; esac
  for flag in $rest; do case $flag in vmx | svm | hypervisor | constant_tsc) flags="$flags $flag" ;; esac; done
  break
done </proc/cpuinfo
fact preflight_cpu_flags "${flags# }"
vgic=no
while IFS= read -r line; do case $line in *vgic*) vgic=yes ;; esac; done </proc/interrupts
fact preflight_vgic "$vgic"
said=$(dmesg 2>/dev/null | grep -i -e 'started at EL' -e 'started in .* mode' -e 'kvm.*HYP mode' -e 'kvm.*vgic' -e 'kvm.*maintenance' | tail -n 3 | sed 's/^\[[^]]*\] *//')
[ -z "$said" ] || printf '%s\n' "$said" | while IFS= read -r line; do fact preflight_boot_mode "$line"; done
said=$(kvm_said)
[ -z "$said" ] || fact preflight_kvm_message "$said"

# Programs that move interrupts, settings and cores.
for process in /proc/[0-9]*; do
  IFS= read -r name 2>/dev/null <"$process/comm" || continue
  case $name in
  irqbalance) fact preflight_irqbalance yes ;;
  tuned) fact preflight_tuned running ;;
  esac
done
preflight_fact tuned_profile /etc/tuned/active_profile
while read -r _ folder type options _; do
  case $type in
  cgroup) case ,$options, in *,cpuset,*) ;; *) continue ;; esac ;;
  cgroup2) ;;
  *) continue ;;
  esac
  for file in "$folder"/*/cpuset.cpus "$folder"/*/*/cpuset.cpus "$folder"/*/*/*/cpuset.cpus; do
    IFS= read -r cpus 2>/dev/null <"$file" && [ -n "$cpus" ] || continue
    group=${file%/cpuset.cpus} partition=member
    case $group in "$folder/rtvirt" | "$folder/rtvirt-host") continue ;; esac
    IFS= read -r partition 2>/dev/null <"$group/cpuset.cpus.partition" || {
      IFS= read -r exclusive 2>/dev/null <"$group/cpuset.cpu_exclusive" && [ "$exclusive" = 1 ] && partition=exclusive
    }
    printf '@row preflight_groups cpus=%s partition=%s path=%s\n' "$cpus" "$partition" "$group"
  done
done </proc/mounts

# Room, in KiB, where rtvirt writes; the wall clock.
boot=/boot
[ ! -e /boot/firmware ] || boot=/boot/firmware
for path in "$boot" /lib/modules /var/lib /run /tmp; do
  df -Pk "$path" 2>/dev/null | {
    read -r _
    read -r _ _ _ free _ mount && printf '@row preflight_room free_kib=%s path=%s on=%s\n' "$free" "$path" "$mount"
  }
done
fact preflight_time_s "$(date +%s)"

# System management interrupts (MSR 0x34 of Intel's processors) since boot, and gaps that the hardware makes.
if [ -r /dev/cpu/0/msr ]; then
  value=$(dd if=/dev/cpu/0/msr bs=4 count=1 skip=52 iflag=skip_bytes 2>/dev/null | od -A n -t u4)
  fact preflight_smi_count "$((${value:-0}))"
fi
if [ "${HWLAT_S:-0}" -gt 0 ] && [ "$RTVIRT_CHECK_MODE" = no ]; then
  tracing=/sys/kernel/tracing
  [ -e "$tracing/current_tracer" ] || tracing=/sys/kernel/debug/tracing
  hwlat='cannot be measured: '
  if ! [ -r "$tracing/available_tracers" ]; then
    hwlat="${hwlat}tracefs is not mounted, or not readable"
  elif ! grep -qw hwlat "$tracing/available_tracers"; then
    hwlat="${hwlat}the kernel has no tracer hwlat"
  elif [ "$(cat "$tracing/current_tracer")" != nop ]; then
    hwlat="${hwlat}the tracer $(cat "$tracing/current_tracer") is in use"
  else
    threshold=$(cat "$tracing/tracing_thresh")
    restore_tracer() {
      echo nop >"$tracing/current_tracer"
      echo "$threshold" >"$tracing/tracing_thresh"
    }
    trap restore_tracer EXIT
    echo 1 >"$tracing/tracing_thresh"
    if echo hwlat >"$tracing/current_tracer" && echo 1 >"$tracing/tracing_on"; then
      sleep "$HWLAT_S"
      hwlat="$(cat "$tracing/tracing_max_latency") us in $HWLAT_S s"
    else
      hwlat="${hwlat}the kernel refuses the tracer hwlat"
    fi
    restore_tracer
    trap - EXIT
  fi
  fact preflight_hwlat "$hwlat"
fi
