# shellcheck shell=sh
# Run one cell: the workload in the foreground, cyclictest beside it on the measured core. Needs: enter_cpuset.sh of cpu_isolation, run_workload.sh.
# CPU, LOOPS, INTERVAL_US, PRIORITY, HISTOGRAM_US, LIMIT_S (of this machine's clock), and of the workload COMMAND (or empty), PREPARE, CLEANUP,
# CPUS, REPEAT (yes or no), FOLDER (memory or disk), RUN_LIMIT_S (for one run of a program that ends by itself), END_LIMIT_S (from SIGTERM
# to its end).
# Folders have the shell in their names, for hold_machine.sh.
folder=$(mktemp -d "/tmp/rtvirt.$$.XXXXXX") || fail "There is no room in /tmp."
workload=
finish() {
  [ -z "$workload" ] || kill -s KILL "$workload" 2>/dev/null
  leave_working_folder
  rm -rf "$folder"
}
trap finish EXIT
command -v cyclictest >/dev/null || fail "There is no cyclictest on this machine; the role measure installs it."

json=
case $(cyclictest --help 2>&1) in *--json*) json=--json=$folder/cyclictest.json ;; esac

[ -z "$COMMAND" ] || begin_workload
read -r began _ </proc/uptime
# shellcheck disable=SC2086  # nothing, or one option
(exec_on_guest_cpus timeout "$LIMIT_S" cyclictest --quiet --mlockall --threads=1 --affinity="$CPU" --policy=fifo --priority="$PRIORITY" \
  --interval="$INTERVAL_US" --loops="$LOOPS" --histogram="$HISTOGRAM_US" $json >"$folder/cyclictest.txt" 2>"$folder/cyclictest.err")
status=$?
read -r ended _ </proc/uptime
wrong=
[ -z "$COMMAND" ] || end_workload

fact began_uptime_s "$began"
fact ended_uptime_s "$ended"
for name in cyclictest.txt cyclictest.json cyclictest.err workload.txt workload.err; do file "$name" "$folder/$name"; done
[ "$status" -ne 124 ] || fail "cyclictest did not end within $LIMIT_S s of this machine's clock."
[ "$status" -eq 0 ] || fail "cyclictest ended with status $status: $(tail -n 2 "$folder/cyclictest.err" | tr '\n' ' ')"
[ -z "$wrong" ] || fail "$wrong"
