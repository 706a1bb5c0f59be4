# shellcheck shell=sh disable=SC2154,SC2034
# Apply the settings item by item, and restore those that are no longer requested. Needs: thread.sh, settings.sh, cpuset.sh, resctrl.sh.
ACT=apply

require_root() {
  while read -r key _ user _; do [ "$key" != Uid: ] || break; done </proc/self/status
  [ "$user" = 0 ] || fail "The settings need root, and the connection's user has id $user; set become, or connect as root."
}
# require_cores VARIABLE LIST: fail unless all cores exist and are online
require_cores() {
  within "$2" "$present" || fail "$1 is '$2', and core $cpu does not exist, expected cores of $present; name others."
  within "$2" "$online" || fail "$1 is '$2', and core $cpu is offline, expected cores of $online; bring it online, or name others."
}

[ -z "$SETTINGS" ] && [ ! -s "$journal" ] || require_root
if [ -n "$SETTINGS" ]; then
  read -r present </sys/devices/system/cpu/present
  read -r online </sys/devices/system/cpu/online
  require_cores cpu_isolation_host_cpus "$HOST_CPUS"
  require_cores cpu_isolation_guest_cpus "$GUEST_CPUS"
  [ "$RTVIRT_CHECK_MODE" = yes ] || mkdir -p "$state_folder"
fi
note_rows
# Apply before undoing: the kernel refuses to throttle real-time tasks again while a fair server has a runtime of 0.
each_item
undo_settings
if [ "$RTVIRT_CHECK_MODE" = no ]; then
  if [ -n "$SETTINGS" ]; then
    printf '%s\n' "$HOST_CPUS" "$GUEST_CPUS" "$SETTINGS" "$SETTING_ROWS" >"$state_folder/isolation.wanted"
  else
    rm -f "$state_folder/isolation.wanted" "$journal" "$refused_items"
  fi
fi
# Kernels before 4.15 parse flags of isolcpus as the start of a list of cores. Only checked while the parameter is missing.
case $wanted_names in
*' isolcpus '*)
  flags=yes
  read -r line </proc/cmdline
  case $line in *isolcpus=*) ;; *) [ ! -r /proc/kallsyms ] || grep -q -m 1 housekeeping_isolcpus_setup /proc/kallsyms || flags=no ;; esac
  fact isolcpus_flags "$flags" ;;
esac
[ -z "$failures" ] || fail "The machine is not as wanted: $failures."
# check mode: safe
