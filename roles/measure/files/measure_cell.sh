# shellcheck shell=sh
# Run one cell: the workload in the foreground, cyclictest beside it on the measured core. Needs: enter_cpuset.sh of cpu_isolation, run_workload.sh,
# cyclictest_thread.sh.
# CPU, LOOPS, INTERVAL_US, PRIORITY, HISTOGRAM_US, LATE_US (later wake-ups are listed with their times; may be empty), LIMIT_S (of this machine's clock), LATER_S (of cyclictest_thread.sh), and of the workload COMMAND
# (or empty), PREPARE, CLEANUP, CPUS, REPEAT (yes or no), FOLDER (memory or disk), RUN_LIMIT_S (for one run of a program that ends by itself), END_LIMIT_S (from SIGTERM
# to its end).
# Folders have the shell in their names, for hold_machine.sh.
folder=$(mktemp -d "/tmp/rtvirt.$$.XXXXXX") || fail "There is no room in /tmp."
workload='' looker='' unseen=''
finish() {
  [ -z "$workload" ] || kill -s KILL "$workload" 2>/dev/null
  leave_working_folder
  rm -rf "$folder"
}
trap finish EXIT
command -v cyclictest >/dev/null || fail "There is no cyclictest on this machine; the role measure installs it."

known=$(cyclictest --help 2>&1)
json='' late=''
case $known in *--json*) json=--json=$folder/cyclictest.json ;; esac
# As many as an analysis of their order looks at; more are counted, not listed.
[ -z "${LATE_US:-}" ] || case $known in *--spike-nodes*) late="--spike=$LATE_US --spike-nodes=5000" ;; esac

# The shell leaves its number, since timeout may have a process of its own.
# shellcheck disable=SC2016  # expanded by the inner shell
run_cyclictest() {  # RUN [OPTION...]
  run=$1
  shift
  exec_on_guest_cpus timeout "$LIMIT_S" sh -c 'echo $$ >"$0" && exec "$@"' "$folder/$run.pid" \
    cyclictest --quiet --mlockall --threads=1 --affinity="$CPU" --policy=fifo --priority="$PRIORITY" \
    --interval="$INTERVAL_US" --loops="$LOOPS" --histogram="$HISTOGRAM_US" "$@"
}

: >"$folder/looks"
find_other_cores
[ -n "$LATER_S" ] || other_cores=
[ -n "$other_cores" ] || look_apart before
[ -z "$COMMAND" ] || begin_workload
read -r began _ </proc/uptime
# shellcheck disable=SC2086  # nothing, or options
run_cyclictest run $json $late >"$folder/cyclictest.txt" 2>"$folder/cyclictest.err" </dev/null &
measurement=$!
if [ -n "$other_cores" ]; then
  look_beside "$measurement" >>"$folder/looks" 2>/dev/null </dev/null &
  looker=$!
fi
wait "$measurement"
status=$?
read -r ended _ </proc/uptime
if [ -n "$looker" ]; then
  kill "$looker" 2>/dev/null
  wait "$looker"
fi
wrong=
[ -z "$COMMAND" ] || end_workload

# A short measurement may have ended before it was looked at.
[ "$status" -ne 0 ] || { [ -n "$other_cores" ] && [ -s "$folder/looks" ]; } || look_apart after

cat "$folder/looks"
fact began_uptime_s "$began"
fact ended_uptime_s "$ended"
for name in cyclictest.txt cyclictest.json cyclictest.err workload.txt workload.err; do file "$name" "$folder/$name"; done
[ "$status" -ne 124 ] || fail "cyclictest did not end within $LIMIT_S s of this machine's clock."
[ "$status" -eq 0 ] || fail "cyclictest ended with status $status: $(tail -n 2 "$folder/cyclictest.err" | tr '\n' ' ')"
[ -z "$wrong" ] || fail "$wrong"
[ -z "$unseen" ] || fail "$unseen"
