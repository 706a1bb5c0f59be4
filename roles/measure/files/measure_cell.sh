# shellcheck shell=sh
# Run one cell: the workload in the foreground, cyclictest beside it, both on the measured core. Reads: enter_cpuset.sh of cpu_isolation.
# CPU, LOOPS, INTERVAL_US, PRIORITY, HISTOGRAM_US, COMMAND (of the workload, or nothing), LIMIT_S (of this machine's clock).
folder=$(mktemp -d /tmp/rtvirt.XXXXXX) || fail "There is no room in /tmp."
workload=
finish() {
  [ -z "$workload" ] || kill "$workload" 2>/dev/null
  rm -rf "$folder"
}
trap finish EXIT
command -v cyclictest >/dev/null || fail "There is no cyclictest on this machine; the role measure installs it."

json=
case $(cyclictest --help 2>&1) in *--json*) json=--json=$folder/cyclictest.json ;; esac

if [ -n "$COMMAND" ]; then
  # shellcheck disable=SC2086  # a command line
  exec_on_guest_cpus taskset -c "$CPU" $COMMAND >"$folder/workload.txt" 2>&1 </dev/null &
  workload=$!
fi
read -r began _ </proc/uptime
# shellcheck disable=SC2086  # nothing, or one option
(exec_on_guest_cpus timeout "$LIMIT_S" cyclictest --quiet --mlockall --threads=1 --affinity="$CPU" --policy=fifo --priority="$PRIORITY" \
  --interval="$INTERVAL_US" --loops="$LOOPS" --histogram="$HISTOGRAM_US" $json >"$folder/cyclictest.txt" 2>"$folder/cyclictest.err")
status=$?
read -r ended _ </proc/uptime

workload_ended=
if [ -n "$workload" ]; then
  kill -0 "$workload" 2>/dev/null || workload_ended=yes
  kill "$workload" 2>/dev/null
  wait "$workload"
  workload=
fi
fact began_uptime_s "$began"
fact ended_uptime_s "$ended"
file cyclictest.txt "$folder/cyclictest.txt"
file cyclictest.json "$folder/cyclictest.json"
file cyclictest.err "$folder/cyclictest.err"
file workload.txt "$folder/workload.txt"
[ "$status" -ne 124 ] || fail "cyclictest did not end within $LIMIT_S s of this machine's clock."
[ "$status" -eq 0 ] || fail "cyclictest ended with status $status: $(tail -n 2 "$folder/cyclictest.err" | tr '\n' ' ')"
[ -z "$workload_ended" ] || fail "The workload ended before cyclictest did: $(tail -n 2 "$folder/workload.txt" | tr '\n' ' ')"
