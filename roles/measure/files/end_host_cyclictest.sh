# shellcheck shell=sh disable=SC2154
# Read back the thread of the cyclictest that start_host_cyclictest.sh started, tell it to end, and return what it wrote; fail if it had ended by itself. Needs: thread.sh of
# cpu_isolation, cyclictest_thread.sh, host_cyclictest.sh.
folder=/run/rtvirt/host-cyclictest
[ -s "$folder/run.pid" ] || fail "No cyclictest was started on this board."
if find_thread run && kill -s TERM "$pid"; then
  thread_row after
  tries=0
  while [ -e "/proc/$pid/exe" ] && [ "$tries" -lt 200 ]; do
    sleep 0.05
    tries=$((tries + 1))
  done
  ended=no
else
  ended=yes
fi
for name in txt json; do file "cyclictest-host.$name" "$folder/cyclictest.$name"; done
said=$(tail -n 2 "$folder/cyclictest.err" | tr '\n' ' ')
stop_host_cyclictest
[ "$ended" = no ] || fail "The board's own cyclictest ended before the cell did: $said"
