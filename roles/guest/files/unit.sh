# shellcheck shell=sh disable=SC2154
# check mode: safe
# The guest as a unit: a transient systemd unit, or without systemd a process in a session of its own with a pid file. It outlives the
# connection that started it, and stopping the unit ends it. Needs: unit_pid.sh.
# unit_start CORES COMMAND...: QEMU's threads inherit the cores.
unit_start() {
  cores=$1
  shift
  if unit_systemd; then
    systemctl reset-failed "$unit" 2>/dev/null
    # A short stop timeout, for a QEMU that waits for a vCPU that never stops.
    systemd-run --quiet --unit="$unit" --property=LimitMEMLOCK=infinity --property=TimeoutStopSec=10 ${cores:+"--property=CPUAffinity=$cores"} "$@"
  else
    # shellcheck disable=SC2016  # the inner shell's
    setsid sh -c 'echo $$ >"$1"; shift; ulimit -l unlimited; exec "$@"' sh "$run/guest.pid" ${cores:+taskset --cpu-list "$cores"} "$@" \
      >"$run/guest.log" 2>&1 </dev/null &
    sleep 0.2
  fi
}
unit_said() {
  # QEMU's own messages, without systemd's.
  if unit_systemd; then journalctl _SYSTEMD_UNIT="$unit.service" --lines=3 --output=cat; else tail -n 3 "$run/guest.log"; fi 2>/dev/null | tr '\n' ' '
}
# Whether the process still exists, be it only to release its memory after its main thread has ended; a zombie without threads does not
# count.
unit_runs() {
  IFS= read -r stat 2>/dev/null <"/proc/$pid/stat" || return 1
  set -- "/proc/$pid/task"/*
  case ${stat##*) } in Z*) [ $# -gt 1 ] ;; esac
}
unit_stop() {
  if unit_systemd; then
    systemctl stop "$unit"
  else
    pid=$(unit_pid)
    [ -n "$pid" ] || return 0
    kill "$pid"
    tries=0
    while unit_runs && [ "$tries" -lt 50 ]; do tries=$((tries + 1)); sleep 0.1; done
    ! unit_runs || kill -9 "$pid"
    while unit_runs; do sleep 0.1; done
    rm -f "$run/guest.pid"
  fi
}
