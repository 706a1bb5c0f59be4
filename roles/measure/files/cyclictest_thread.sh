# shellcheck shell=sh disable=SC2034,SC2154
# Read back cyclictest's measuring thread. Rows of the table `cyclictest`; `seen` is where:
#   beginning, end   in the measurement itself, looked at from other cores than the measured one
#   before, after    in the same command run for a moment before and after the measurement, where looking at the measurement itself would be measured
#                    too: on a machine with one core, and on an emulated board, whose cores take turns
# CPU, PRIORITY, LOOPS, INTERVAL_US, LATER_S (from the first look at the measurement to the second; empty on an emulated board).
# Needs: thread.sh of cpu_isolation.
# Calls run_cyclictest of measure_cell.sh, which sets began.

# Set other_cores to the list of those on which this shell may run, without the measured one.
find_other_cores() {
  read_affinity /proc/self
  other_cores='' rest=$affinity,
  while [ -n "$rest" ]; do
    part=${rest%%,*} rest=${rest#*,}
    core=${part%-*}
    while [ "$core" -le "${part#*-}" ]; do
      [ "$core" = "$CPU" ] || other_cores=${other_cores:+$other_cores,}$core
      core=$((core + 1))
    done
  done
}

# find_thread RUN: set pid, and tid, policy, priority and affinity of its thread that is not the main one; fails if there is none.
find_thread() {
  read -r pid 2>/dev/null <"$folder/$1.pid" || return 1
  for task in "/proc/$pid/task"/*; do
    [ "${task##*/}" != "$pid" ] && read_thread "$task" && read_affinity "$task" && [ -n "$affinity" ] || continue
    tid=${task##*/}
    return 0
  done
  return 1
}

# Whether the measurement cannot be over yet: its loops take as long at least. At its end cyclictest gives its priority back.
still_measures() {
  read -r now _ </proc/uptime
  awk -v now="$now" -v began="$began" -v loops="$LOOPS" -v interval_us="$INTERVAL_US" \
    'BEGIN { exit !((now - began) * 1000000 < loops * interval_us) }'
}

thread_row() {  # SEEN
  case $1 in
  beginning | end) [ "$policy $priority on $affinity" = "fifo $PRIORITY on $CPU" ] || still_measures || return 0 ;;
  esac
  printf '@row cyclictest seen=%s tid=%s cpus=%s last_ran_on=%s policy=%s priority=%s\n' "$1" "$tid" "$affinity" "$last_ran_on" "$policy" "$priority"
}

# read_back SEEN RUN JOB: wait until the thread has set its policy and affinity, which it does at once, and print its row.
read_back() {
  looks=0 tid='' pid=''
  while [ -e "/proc/$3/exe" ] && [ "$looks" -lt 600 ]; do
    if find_thread "$2"; then
      [ "$policy $priority on $affinity" != "fifo $PRIORITY on $CPU" ] || break
      looks=$((looks + 29))
    fi
    looks=$((looks + 1))
    sleep 0.05
  done
  [ -z "$tid" ] || thread_row "$1"
}

# Look at the measurement of a job, at its beginning and near its end, from other cores. Ends with SIGTERM.
look_beside() {  # JOB
  nap=
  trap '[ -z "$nap" ] || kill "$nap"; exit 0' TERM
  read -r self _ </proc/self/stat
  taskset -c -p "$other_cores" "$self" >/dev/null || return 0
  read_back beginning run "$1"
  sleep "$LATER_S" &
  nap=$!
  wait "$nap"
  nap=
  ! find_thread run || thread_row end
}

# Run cyclictest until its thread was looked at, however long that takes on a busy machine. Sets unseen to a sentence if it has ended before.
look_apart() {  # SEEN
  run_cyclictest "$1" --loops=0 >"$folder/$1.err" 2>&1 </dev/null &
  job=$!
  read_back "$1" "$1" "$job" >>"$folder/looks"
  kill "${pid:-$job}" 2>/dev/null
  wait "$job"
  status_apart=$?
  [ -n "$tid" ] || unseen="cyclictest's thread was not seen $1 the measurement: status $status_apart, $(tail -n 1 "$folder/$1.err")"
}
