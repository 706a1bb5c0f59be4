# shellcheck shell=sh disable=SC2154
# Read back the thread of the cyclictest that start_host_cyclictest.sh started, tell it to end, and return what it wrote; fail if it had ended by itself. Needs: thread.sh of
# cpu_isolation, cyclictest_thread.sh, host_cyclictest.sh. PRIORITY: of the thread.
folder=/run/rtvirt/host-cyclictest
[ -s "$folder/run.pid" ] || fail "No cyclictest was started on this board."
wrong=''
if find_thread run && kill -s TERM "$pid"; then
  thread_row after
  tries=0
  while [ -e "/proc/$pid/exe" ] && [ "$tries" -lt 600 ]; do
    # At its end the measuring thread gives its priority back, and beside a vCPU that never sleeps it would not come to it.
    for task in "/proc/$pid/task"/*; do set_policy fifo "$PRIORITY" "${task##*/}" 2>/dev/null; done
    sleep 0.05
    tries=$((tries + 1))
  done
  [ ! -e "/proc/$pid/exe" ] || wrong="The board's own cyclictest does not end."
else
  wrong="The board's own cyclictest ended before the cell did: "
fi
for name in txt json; do file "cyclictest-host.$name" "$folder/cyclictest.$name"; done
said=$(tail -n 2 "$folder/cyclictest.err" | tr '\n' ' ')
stop_host_cyclictest
[ -z "$wrong" ] || fail "$wrong$said"
