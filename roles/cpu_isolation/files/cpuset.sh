# shellcheck shell=sh disable=SC2154,SC2034
# Isolate cores at run time, on a machine that must not be rebooted: isolcpus as far as cgroups allow. Needs: thread.sh, settings.sh.
# cgroup v2: an isolated partition below the root, of type threaded, so that it can hold single threads of QEMU. The kernel keeps other threads out.
# cgroup v1: one cpuset per side, load balancing off in the root cpuset, and all user-space threads in the host's cpuset. Kernel threads stay in
# the root cpuset: moving them would widen their CPU affinity, which the setting kernel_threads sets.
cpuset_before=$state_folder/cpuset.before  # previous value of the root, then the threads that had a CPU affinity of their own
cpuset_enter=$state_folder/cpuset.enter  # script by which enter_cpuset.sh moves a thread into a side's cpuset
cpuset_rtvirt=rtvirt

find_cpusets() {
  cpuset_kind=none top=
  while read -r _ folder type options _; do
    case $type in
    cgroup) case ,$options, in *,cpuset,*) cpuset_kind=v1 top=$folder ;; esac ;;
    cgroup2) ! grep -qw cpuset "$folder/cgroup.controllers" 2>/dev/null || { cpuset_kind=v2 top=$folder; } ;;
    esac
  done </proc/mounts
  guest_set=$top/$cpuset_rtvirt
  host_set=$top/$cpuset_rtvirt-host
}

# Report the value found, with the reason if it could not be changed.
report_value() {
  may_refuse=no
  [ "${1:-}" != may_refuse ] || [ ! -d "$guest_set" ] || may_refuse=yes
  if as_wanted; then
    item_row "$source" "$wanted" "$found" ok
  elif [ "$ACT" = apply ] && [ "$RTVIRT_CHECK_MODE" = no ]; then
    not_changed "$source" file ''
  elif [ "$may_refuse" = yes ]; then
    item_row "$source" "$wanted" "$found" fixed
  else
    item_row "$source" "$wanted" "$found" differs
  fi
}

# set_value FILE WANTED [may_refuse]: write a value when applying, and report it; may_refuse: a refusal by the kernel is no failure
set_value() {
  kind=exact source=$1 wanted=$2 found=none
  [ ! -e "$source" ] || read_file
  if ! as_wanted && [ "$ACT" = apply ] && [ "$RTVIRT_CHECK_MODE" = no ]; then
    { write_file; } 2>/dev/null
    [ ! -e "$source" ] || read_file
  fi
  report_value "${3:-}"
}

# programs_in SET COMMAND: call COMMAND for each user-space thread of a cpuset
programs_in() {
  while read -r tid; do
    read_thread "/proc/$tid" && [ $((flags & 0x00200000)) -eq 0 ] && "$2"
  done <"$1/tasks"
}
count_program() { programs=$((programs + 1)) programs_named="$programs_named $name"; }
# Moving a thread into a cpuset resets its CPU affinity, so a restricted one is saved first.
take_program() {
  read_affinity "/proc/$tid"
  [ "$affinity" = "$everywhere" ] || printf '%s %s %s\n' "$tid" "$affinity" "$name" >>"$cpuset_before"
  { echo "$tid" >"$host_set/tasks"; } 2>/dev/null
}
give_back_program() { { echo "$tid" >"$top/tasks"; } 2>/dev/null; }
all_programs_elsewhere() {
  tries=0
  while :; do
    [ "$ACT" = show ] || [ "$RTVIRT_CHECK_MODE" = yes ] || programs_in "$top" take_program
    programs=0 programs_named=
    programs_in "$top" count_program
    # Threads may have been started meanwhile; helpers that the kernel starts run in the root cpuset and end soon.
    [ "$programs" -gt 0 ] && [ -d "$host_set" ] && [ "$tries" -lt 5 ] || break
    tries=$((tries + 1))
    sleep 0.1
  done
  kind=exact source=$top/tasks wanted='no program' found='no program'
  [ "$programs" -eq 0 ] || found="$programs programs:$(printf '%.60s' "$programs_named")"
  report_value
}

cpusets_v1() {
  if [ "$ACT" = apply ] && [ "$RTVIRT_CHECK_MODE" = no ]; then
    mkdir -p "$guest_set" "$host_set"
    for set in "$guest_set" "$host_set"; do cat "$top/cpuset.mems" >"$set/cpuset.mems"; done
  fi
  set_value "$guest_set/cpuset.cpus" "$GUEST_CPUS"
  set_value "$host_set/cpuset.cpus" "$HOST_CPUS"
  set_value "$guest_set/cpuset.cpu_exclusive" 1 may_refuse  # refused while another cpuset has these cores too
  set_value "$guest_set/cpuset.sched_load_balance" 0
  all_programs_elsewhere
  set_value "$top/cpuset.sched_load_balance" 0
}

cpusets_v2() {
  if [ "$ACT" = apply ] && [ "$RTVIRT_CHECK_MODE" = no ]; then
    grep -qw cpuset "$top/cgroup.subtree_control" || echo +cpuset >"$top/cgroup.subtree_control"
    mkdir -p "$guest_set"
    grep -qx threaded "$guest_set/cgroup.type" || echo threaded >"$guest_set/cgroup.type"
  fi
  set_value "$guest_set/cpuset.cpus" "$GUEST_CPUS"
  partition=$guest_set/cpuset.cpus.partition
  if [ "$ACT" = apply ] && [ "$RTVIRT_CHECK_MODE" = no ]; then
    for kind_of in isolated root; do  # the first from Linux 6.1 on, the second from 5.0
      grep -qx isolated "$partition" 2>/dev/null || { echo "$kind_of" >"$partition"; } 2>/dev/null
    done
  fi
  found=none
  [ ! -e "$partition" ] || IFS= read -r found <"$partition"
  # A kernel before 6.1 knows `root` only, which keeps the cores as well; `member`, and what is invalid, does not.
  case $found in root | none) set_value "$partition" isolated may_refuse ;; *) set_value "$partition" isolated ;; esac
  [ ! -e "$partition" ] || cpuset_kind="v2 $found"
  case $found in isolated | root | none) ;; *) name_owners ;; esac
}

# Name the cgroups of others that have cores of the guest for themselves: in the sentence of the failure, and as rows.
name_owners() {
  owners=
  for file in "$top"/*/cpuset.cpus "$top"/*/*/cpuset.cpus "$top"/*/*/*/cpuset.cpus; do
    case $file in "$guest_set"/*) continue ;; esac
    IFS= read -r theirs 2>/dev/null <"$file" && [ -n "$theirs" ] || continue
    cores "$theirs"
    outer=$expanded
    cores "$GUEST_CPUS"
    for cpu in $expanded; do case $outer in *" $cpu "*) owners="$owners ${file%/cpuset.cpus} (cores $theirs)"; break ;; esac; done
  done
  [ -n "$owners" ] || return 0
  item_row 'cgroups of others with these cores' none "${owners# }" differs
  [ "$ACT" = show ] || [ "$RTVIRT_CHECK_MODE" = yes ] ||
    failures="${failures:+$failures; }cores of the guest ($GUEST_CPUS) belong to${owners}; take them from there (AllowedCPUs= of its unit), or choose others"
}

cpusets() {
  find_cpusets
  case $cpuset_kind in
  none) item_row 'cgroup controller cpuset' "$GUEST_CPUS" none absent ;;
  *) "cpusets_$cpuset_kind" ;;
  esac
  fact cpuset_kind "$cpuset_kind"
}

cpuset_show() { cpusets; }

cpuset_apply() {
  find_cpusets
  read -r everywhere </sys/devices/system/cpu/online
  # A core can be in one exclusive cpuset only: for another split, undo the previous one first.
  if [ -d "$guest_set" ] && [ "$cpuset_kind" != none ]; then
    kind=exact wanted=$GUEST_CPUS source=$guest_set/cpuset.cpus
    read_file
    as_wanted && [ -s "$cpuset_enter" ] || [ "$RTVIRT_CHECK_MODE" = yes ] || cpuset_undo
  fi
  if [ ! -d "$guest_set" ] && [ "$cpuset_kind" != none ]; then
    changed "$setting: cores $GUEST_CPUS kept in cgroup $cpuset_kind"
    if [ "$RTVIRT_CHECK_MODE" = no ]; then
      case $cpuset_kind in
      v1)
        cat "$top/cpuset.sched_load_balance" >"$cpuset_before"
        # shellcheck disable=SC2016  # arguments of the generated script: thread, process, side
        printf 'case $3 in guest) echo "$1" >%s/tasks ;; *) echo "$1" >%s/tasks ;; esac\n' "$guest_set" "$host_set" >"$cpuset_enter"
        ;;
      v2)
        grep -ow cpuset "$top/cgroup.subtree_control" >"$cpuset_before"
        # A thread can be moved only within the subtree of its process's cgroup, so the process is moved to the root first.
        # shellcheck disable=SC2016
        printf '%s\n' "top=$top set=$guest_set" 'grep -qx -e 0::/ -e "0::${set#$top}" "/proc/$2/task/$1/cgroup" || echo "$2" >"$top/cgroup.procs"' \
          'case $3 in guest) echo "$1" >"$set/cgroup.threads" ;; *) echo "$1" >"$top/cgroup.threads" ;; esac' >"$cpuset_enter"
        ;;
      esac
      case $journaled in *"$newline$setting${tab}cpuset$tab"*) ;; *) printf '%s\tcpuset\t%s\n' "$setting" none >>"$journal" ;; esac
    fi
  fi
  cpusets
}

# Move the threads back to the root cpuset, remove the cpusets, and restore the root's value and the threads' CPU affinity.
cpuset_undo() {
  find_cpusets
  case $cpuset_kind in
  v1)
    for set in "$guest_set" "$host_set"; do
      [ -d "$set" ] || continue
      tries=0
      until rmdir "$set" 2>/dev/null || [ "$tries" -ge 10 ]; do
        programs_in "$set" give_back_program
        tries=$((tries + 1))
      done
    done
    {
      read -r balance && [ "$balance" = "$(cat "$top/cpuset.sched_load_balance")" ] || echo "$balance" >"$top/cpuset.sched_load_balance"
      while read -r tid cpus name; do
        IFS= read -r now 2>/dev/null <"/proc/$tid/comm" && [ "$now" = "$name" ] || continue
        taskset -c -p "$cpus" "$tid" >/dev/null 2>&1
      done
    } <"$cpuset_before"
    ;;
  v2)
    if [ -d "$guest_set" ]; then
      tries=0
      until rmdir "$guest_set" 2>/dev/null || [ "$tries" -ge 10 ]; do
        while read -r tid; do { echo "$tid" >"$top/cgroup.threads"; } 2>/dev/null; done <"$guest_set/cgroup.threads"
        tries=$((tries + 1))
      done
    fi
    [ -s "$cpuset_before" ] || echo -cpuset >"$top/cgroup.subtree_control"
    ;;
  esac
  rm -f "$cpuset_before" "$cpuset_enter"
  [ ! -d "$guest_set" ] && [ ! -d "$host_set" ]
}
# check mode: safe
