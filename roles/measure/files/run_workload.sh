# shellcheck shell=sh
# Start the workload of a cell, stop it, and check how it ended. Its variables are those of measure_cell.sh.
# shellcheck disable=SC2034,SC2154
scratch_disk=/dev/disk/by-id/virtio-scratch

# Its working folder: in memory, or on a disk, which in a guest is the scratch disk if it has one.
enter_working_folder() {
  case $FOLDER in
  memory) parent=/dev/shm ;;
  disk) parent=/var/tmp ;;
  esac
  mkdir -p "$parent"
  work=$(mktemp -d "$parent/rtvirt.$$.XXXXXX") || fail "There is no room for a working folder in $parent."
  export TMPDIR="$work"
  [ "$FOLDER" = disk ] && [ -e "$scratch_disk" ] || return 0
  mounted=$work
  mount_scratch_disk && return 0
  { busybox mke2fs "$scratch_disk" || mkfs.ext4 -q "$scratch_disk"; } >"$folder/mkfs" 2>&1
  mount_scratch_disk || fail "The scratch disk could not be made ready: $(tail -n 1 "$folder/mkfs")"
}
mount_scratch_disk() { mount -t ext4 -o noatime "$scratch_disk" "$work" 2>/dev/null; }

work='' mounted=''
leave_working_folder() {
  [ -z "$mounted" ] || umount "$mounted" 2>/dev/null || umount -l "$mounted" 2>/dev/null
  [ -z "$work" ] || rm -rf "$work"
}

# Run a command line, quotes included, on the workload's cores.
run_pinned() {
  cd "$work" || exit 1
  eval "exec_on_guest_cpus taskset -c $CPUS $1"
}

run_hook() {  # WHAT COMMAND: runs before or after the measurement
  [ -z "$2" ] || (run_pinned "$2") >"$folder/aside" 2>&1 </dev/null ||
    fail "The workload could not be $1: '$2' ended with status $?: $(tail -n 2 "$folder/aside" | tr '\n' ' ')"
}

# Run a program that ends by itself again and again. The output of a run counts when the run has ended.
repeat() {
  run='' stopped=''
  trap 'stopped=yes; [ -z "$run" ] || kill "$run" 2>/dev/null' TERM
  while [ -z "$stopped" ]; do
    (run_pinned "$COMMAND") >"$folder/run.txt" 2>>"$folder/workload.err" </dev/null &
    run=$!
    echo "$run" >"$folder/run.pid"
    wait "$run"
    status=$?
    if [ -n "$stopped" ]; then wait "$run"; exit 0; fi
    cat "$folder/run.txt" >>"$folder/workload.txt"
    [ "$status" -eq 0 ] || exit "$status"
  done
  exit 0
}

begin_workload() {
  program=${COMMAND%% *}
  command -v "$program" >/dev/null ||
    fail "There is no program '$program' on this machine; the role workloads brings those that are declared with where they come from."
  enter_working_folder
  run_hook prepared "$PREPARE"
  : >"$folder/workload.txt"
  if [ "$REPEAT" = yes ]; then
    repeat &
  else
    (run_pinned "$COMMAND") >"$folder/workload.txt" 2>"$folder/workload.err" </dev/null &
  fi
  workload=$!
}

still_runs() { kill -0 "$workload" 2>/dev/null; }

# Set `wrong` to the reason why the measurement beside it is invalid, or to nothing.
end_workload() {
  # At least one run must end.
  while [ "$REPEAT" = yes ] && [ ! -s "$folder/workload.txt" ] && still_runs && waits; do sleep 1; done
  early=''
  still_runs || early=yes
  kill "$workload" 2>/dev/null
  looks=0
  while still_runs && [ "$looks" -lt $((END_LIMIT_S * 10)) ]; do
    sleep 0.1
    looks=$((looks + 1))
  done
  hung=''
  if still_runs; then
    hung=yes
    [ ! -s "$folder/run.pid" ] || kill -s KILL "$(cat "$folder/run.pid")" 2>/dev/null
    kill -s KILL "$workload"
  fi
  wait "$workload"
  code=$?
  workload=
  classify_exit "$code"
  run_hook "cleaned up" "$CLEANUP"
}

waits=0
waits() {  # one more poll, of as many as the limit has seconds
  waits=$((waits + 1))
  [ "$waits" -le "$RUN_LIMIT_S" ]
}

classify_exit() {  # STATUS
  said=$(tail -n 2 "$folder/workload.err" 2>/dev/null | tr '\n' ' ')
  [ -n "$said" ] || said=$(tail -n 2 "$folder/workload.txt" | cut -c 1-200 | tr '\n' ' ')
  [ -n "$said" ] || said='it said nothing'
  if [ -n "$hung" ]; then
    wrong="The workload hung: told to end, it had not after $END_LIMIT_S s, and was killed: $said"
  elif [ "$1" -gt 128 ] && [ "$1" -ne 143 ]; then
    wrong="The workload crashed with signal $(($1 - 128)): $said"
  elif [ "$1" -eq 1 ]; then
    wrong="The workload failed or gave a wrong answer (status 1): $said"
  elif [ "$1" -ne 0 ] && [ "$1" -ne 143 ]; then
    wrong="The workload ended with status $1: $said"
  elif [ -n "$early" ]; then
    wrong="The workload ended before cyclictest did: $said"
  fi
}
