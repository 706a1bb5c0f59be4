# shellcheck shell=sh disable=SC2153,SC2154
# Start cyclictest on the board, for as long as a guest is measured there, and read back its thread (a row of the table `cyclictest`). Needs: enter_cpuset.sh and
# thread.sh of cpu_isolation, cyclictest_thread.sh, host_cyclictest.sh. One that a killed run left behind is stopped first.
# CPU, PRIORITY, INTERVAL_US, HISTOGRAM_US, LATE_US, LIMIT_S (of the board's clock, after which it ends if nobody has ended it), ON_GUEST_CPUS (yes or no).
stop_host_cyclictest
folder=/run/rtvirt/host-cyclictest
mkdir -p "$folder"
command -v cyclictest >/dev/null || fail "There is no cyclictest on this machine; the role measure installs it."
known=$(cyclictest --help 2>&1)
case $known in *--spike-nodes*) ;; *) fail "This board's cyclictest lists no late wake-ups with their times (--spike-nodes), which place both needs; take rt-tests 2.5 or newer." ;; esac
json=''
case $known in *--json*) json=--json=$folder/cyclictest.json ;; esac

# cyclictest's main thread has its core too, where beside a vCPU that never sleeps one without a priority would never run. A session of its own, and without the lock of this command (hold_machine.sh): it is to outlive it.
# shellcheck disable=SC2016,SC2086  # expanded by the inner shell; nothing, or an option
start_host_cyclictest() {
  set -- setsid timeout "$LIMIT_S" sh -c 'echo $$ >"$0" && exec "$@"' "$folder/run.pid" \
    chrt -f "$PRIORITY" \
    cyclictest --quiet --mlockall --threads=1 --affinity="$CPU" --policy=fifo --priority="$PRIORITY" \
    --interval="$INTERVAL_US" --loops=0 --histogram="$HISTOGRAM_US" $json --spike="$LATE_US" --spike-nodes=5000
  [ "$ON_GUEST_CPUS" = no ] || exec_on_guest_cpus "$@"
  exec "$@"
}
start_host_cyclictest >"$folder/cyclictest.txt" 2>"$folder/cyclictest.err" </dev/null 9>&- &
job=$!
echo "$job" >/run/rtvirt/host.pid
read_back before run "$job"
[ -n "$tid" ] || fail "cyclictest did not start on the board: $(tail -n 2 "$folder/cyclictest.err" | tr '\n' ' ')"
