# shellcheck shell=sh disable=SC2153,SC2154
# Set CPU affinity, policy and priority of each QEMU thread where they differ. Needs: unit.sh, and enter_cpuset.sh of
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
  IFS= read -r stat <"/proc/$pid/task/$1/stat" || return 0  # the thread has ended
  IFS= read -r thread <"/proc/$pid/task/$1/comm"
  tid=$1 wanted=$2 policy=$3 priority=$4 side=$5
  # shellcheck disable=SC2086  # the fields are words
  set -- ${stat##*) }
  case ${39} in 0) found=other ;; 1) found=fifo ;; 2) found=rr ;; 3) found='batch' ;; 5) found='idle' ;; *) found="number ${39}" ;; esac
  found="$found ${38}" allowed=
  while read -r key value; do [ "$key" != Cpus_allowed_list: ] || allowed=$value; done <"/proc/$pid/task/$tid/status"
  if [ "$allowed" != "$wanted" ]; then
    changed "thread $thread from cores $allowed to $wanted"
    [ "$RTVIRT_CHECK_MODE" = yes ] || { enter_cpuset "$tid" "$pid" "$side" && taskset --cpu-list --pid "$wanted" "$tid" >/dev/null; } ||
      fail "taskset could not put QEMU's thread $thread on cores $wanted."
  fi
  if [ "$found" != "$policy $priority" ]; then
    changed "thread $thread from $found to $policy $priority"
    [ "$RTVIRT_CHECK_MODE" = yes ] || chrt "--$policy" --pid "$priority" "$tid" ||
      fail "chrt could not give QEMU's thread $thread $policy priority $priority."
  fi
}

place_guest() {
  pid=$(unit_pid)
  read -r everywhere </sys/devices/system/cpu/online
  # shellcheck disable=SC2046  # the cores are words
  set -- $(cores_of "${CPUS:-$everywhere}")
  for task in "/proc/$pid"/task/*; do
    tid=${task##*/} vcpu=
    while read -r index number; do [ "$number" != "$tid" ] || vcpu=$index; done <"$run/guest.vcpus"
    case $MODE in
    process) place "$tid" "$CPUS" "$POLICY" "$PRIORITY" guest ;;
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
