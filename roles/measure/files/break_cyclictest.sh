# shellcheck shell=sh disable=SC2154
# Run cyclictest, with the workload beside it, until a wake-up is later than a threshold, which marks and stops this machine's trace. Needs: enter_cpuset.sh of
# cpu_isolation, run_workload.sh, trace_instance.sh.
# TRACE_INSTANCE, THRESHOLD_US, RINGS (yes or no: rings the console's bell then, which ends the trace of a guest's board), LOOPS (at most), CPU, INTERVAL_US, PRIORITY, LIMIT_S and those of the workload as in measure_cell.sh. Facts: `break_us`, the
# latency that broke it, if one did, and `break_way`: `mark`, or `end` where the trace can only be stopped once cyclictest has ended (without unshare).
command -v cyclictest >/dev/null || fail "There is no cyclictest on this machine; the role measure installs it."
find_tracefs
[ -d "$tracefs/instances/$TRACE_INSTANCE" ] || fail "This machine has no trace; was its time over?"
break_way=mark
(exec_in_instance true) 2>/dev/null || break_way=end
folder=$(mktemp -d "/tmp/rtvirt.$$.XXXXXX") || fail "There is no room in /tmp."
workload=''
read -r was_on <"$tracefs/tracing_on"
finish() {
  [ -z "$workload" ] || kill -s KILL "$workload" 2>/dev/null
  # without a mount namespace cyclictest stops what others trace
  [ "$break_way" = mark ] || echo "$was_on" >"$tracefs/tracing_on"
  leave_working_folder
  rm -rf "$folder"
}
trap finish EXIT
[ -z "$COMMAND" ] || begin_workload
(
  read -r self _ </proc/self/stat
  enter_cpuset "$self" "$self" guest
  set -- cyclictest --quiet --mlockall --threads=1 --affinity="$CPU" --policy=fifo --priority="$PRIORITY" --interval="$INTERVAL_US" --loops="$LOOPS" \
    --breaktrace="$THRESHOLD_US" --tracemark
  set -- timeout "$LIMIT_S" "$@"
  [ "$break_way" = end ] || exec_in_instance "$@"
  exec "$@"
) >"$folder/cyclictest.txt" 2>"$folder/cyclictest.err" </dev/null
status=$?
echo 0 >"$tracefs/instances/$TRACE_INSTANCE/tracing_on"
[ "$RINGS" = no ] || printf '\a' >/dev/console
say_clocks  # in a guest: its board is asked next
wrong=
[ -z "$COMMAND" ] || end_workload
for name in cyclictest.txt workload.txt workload.err; do file "$name" "$folder/$name"; done
[ "$status" -ne 124 ] || fail "cyclictest did not end within $LIMIT_S s of this machine's clock."
[ "$status" -eq 0 ] || fail "cyclictest ended with status $status: $(tail -n 2 "$folder/cyclictest.err" | tr '\n' ' ')"
[ -z "$wrong" ] || fail "$wrong"
fact break_way "$break_way"
broke=$(sed -n 's/^# Break value: \([0-9]*\).*/\1/p' "$folder/cyclictest.txt")
[ -z "$broke" ] || fact break_us "$broke"
