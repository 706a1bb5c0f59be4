# shellcheck shell=sh disable=SC2153,SC2154
# check mode: safe
# Set CPU affinity, policy and priority of each QEMU thread where they differ. Needs: unit.sh, and enter_cpuset.sh and thread.sh of
# cpu_isolation.
# MODE (none, process, threads), CPUS, OTHERS_CPUS, POLICY, PRIORITY.

# Expand a CPU list: 0,2-3 gives 0 2 3.
cores_of() {
  old_ifs=$IFS
  IFS=,
  for part in $1; do
    cpu=${part%-*}
    while [ "$cpu" -le "${part#*-}" ]; do printf '%s ' "$cpu"; cpu=$((cpu + 1)); done
  done
  IFS=$old_ifs
}

# place TID CORES POLICY PRIORITY SIDE
place() {
  read_thread "/proc/$pid/task/$1" || return 0  # it ended meanwhile
  read_affinity "/proc/$pid/task/$1"
  if [ "$affinity" != "$2" ]; then
    changed "thread $name from cores $affinity to $2"
    [ "$RTVIRT_CHECK_MODE" = yes ] || said=$({ enter_cpuset "$1" "$pid" "$5" && taskset -c -p "$2" "$1" >/dev/null; } 2>&1) ||
      fail "taskset could not put QEMU's thread $name on cores $2: ${said:-it gave no reason}."
  fi
  if [ "$policy $priority" != "$3 $4" ]; then
    changed "thread $name from $policy $priority to $3 $4"
    [ "$RTVIRT_CHECK_MODE" = yes ] || said=$(set_policy "$3" "$4" "$1" 2>&1) ||
      fail "chrt could not give QEMU's thread $name $3 priority $4: ${said:-it gave no reason}."
  fi
}

place_guest() {
  pid=$(unit_pid)
  # All of a measured guest's QEMU is on the guest's cores, all of a neighbour's on the host's.
  side=guest
  [ "$who" = guest ] || side=host
  read -r everywhere </sys/devices/system/cpu/online
  # shellcheck disable=SC2046  # the cores are words
  set -- $(cores_of "${CPUS:-$everywhere}")
  for task in "/proc/$pid"/task/*; do
    tid=${task##*/} vcpu=
    while read -r index number; do [ "$number" != "$tid" ] || vcpu=$index; done <"$run/guest.vcpus"
    case $MODE in
    process) place "$tid" "$CPUS" "$POLICY" "$PRIORITY" "$side" ;;
    threads)
      if [ -n "$vcpu" ]; then
        eval "core=\${$((vcpu + 1))}"
        place "$tid" "$core" "$POLICY" "$PRIORITY" guest
      else
        place "$tid" "$OTHERS_CPUS" other 0 host
      fi ;;
    *) place "$tid" "$everywhere" other 0 host ;;
    esac
  done
  # For a later read back of the board.
  # shellcheck disable=SC2154  # the task sets them
  [ "$RTVIRT_CHECK_MODE" = yes ] || printf '%s %s\n' placement_mode "$MODE" placement_cpus "$CPUS" placement_others_cpus "$OTHERS_CPUS" \
    placement_policy "$POLICY" placement_priority "$PRIORITY" memory_mib "$MEMORY_MIB" memory_lock "$MEMORY_LOCK" huge_pages "$HUGE_PAGES" \
    >"$run/guest.wanted"
}
