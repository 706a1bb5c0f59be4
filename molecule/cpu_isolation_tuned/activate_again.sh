# shellcheck shell=sh
# As an administrator does after an update of tuned.
systemctl restart tuned || fail "tuned does not start again."
tries=0
until [ "$(cat /proc/sys/kernel/timer_migration)" = 1 ] && [ "$(cat /proc/sys/kernel/sched_rt_runtime_us)" = 950000 ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || fail "tuned has not set its values again: $(tuned-adm active)"
  sleep 1
done
changed "tuned has set its values again"
