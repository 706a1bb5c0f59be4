# shellcheck shell=sh
# check mode: safe
# Read back what may change while a cell is measured, before and after it: the boot and its clocks, frequencies, throttling, temperatures,
# SMIs, stolen time. Needs: machine_state.sh. GUEST_CPUS, if it is set: the cores that are measured.
read_value() { IFS= read -r "$1" 2>/dev/null <"$2" || eval "$1="; }

read_fact boot_id /proc/sys/kernel/random/boot_id
read -r uptime _ </proc/uptime
fact uptime_s "$uptime"
# The wall clock's time at boot, and per core the ticks (1/100 s) for which a hypervisor kept it waiting: field 8 of cpuN, proc_stat(5).
while read -r key value _ _ _ _ _ _ steal _; do
  case $key in
  btime) fact boot_time_s "$value" ;;
  *) [ "${steal:-0}" = 0 ] || printf '@row stolen core=%s ticks=%s\n' "${key#cpu}" "$steal" ;;
  esac
done <<STAT
$(grep -e '^cpu[0-9]' -e '^btime' /proc/stat)
STAT

for core in /sys/devices/system/cpu/cpu[0-9]*; do
  if [ -d "$core/cpufreq" ]; then
    for name in governor min_freq max_freq cur_freq; do read_value "$name" "$core/cpufreq/scaling_$name"; done
    # shellcheck disable=SC2154  # set by read_value
    printf '@row frequencies core=%s governor=%s min_khz=%s max_khz=%s khz=%s\n' "${core##*/cpu}" "$governor" "$min_freq" "$max_freq" "$cur_freq"
  fi
  for counter in "$core"/thermal_throttle/*_throttle_count; do
    [ -e "$counter" ] || continue
    read_value value "$counter"
    [ "${value:-0}" = 0 ] || printf '@row throttled core=%s count=%s of=%s\n' "${core##*/cpu}" "$value" "${counter##*/}"
  done
done

for zone in /sys/class/thermal/thermal_zone*; do
  [ -e "$zone/temp" ] || continue
  read_value value "$zone/temp"
  read_value name "$zone/type"
  [ -z "$value" ] || printf '@row temperatures zone=%s millicelsius=%s name=%s\n' "${zone##*/thermal_zone}" "$value" "$name"
done

# A Raspberry Pi: bits of what slows it now, and of what has since it was booted. The file of the Pi's own kernels may be as old as their last query.
if command -v vcgencmd >/dev/null && value=$(vcgencmd get_throttled 2>/dev/null); then
  fact pi_throttled "${value#*=}"
else
  read_fact pi_throttled /sys/devices/platform/soc/soc:firmware/get_throttled
fi
for sensor in /sys/class/hwmon/hwmon*; do
  [ -e "$sensor/in0_lcrit_alarm" ] || continue
  read_value name "$sensor/name"
  [ "$name" != rpi_volt ] || read_fact pi_under_voltage "$sensor/in0_lcrit_alarm"
done

# System management interrupts since boot: MSR 0x34 of Intel's processors. One stops all cores, so one core's count is enough.
core=${GUEST_CPUS:-0}
core=${core%%[,-]*}
if [ -r "/dev/cpu/$core/msr" ]; then
  value=$(dd "if=/dev/cpu/$core/msr" bs=8 count=1 skip=52 iflag=skip_bytes 2>/dev/null | od -A n -t u4)
  # shellcheck disable=SC2086  # split into words
  set -- $value
  [ -z "${1:-}" ] || fact smi_count "$1"
fi
