# shellcheck shell=sh disable=SC2154
# check mode: safe
# The guest as a unit: of systemd where that runs, otherwise a process of its own session with its number in a file. It outlives the
# connection that started it, and stopping it ends it. Reads: unit_pid.sh.
# unit_start CORES COMMAND...: QEMU's threads inherit the cores.
unit_start() {
  cores=$1
  shift
  if unit_systemd; then
    systemctl reset-failed rtvirt-guest 2>/dev/null
    # A QEMU that waits for a vCPU that will never stop is not waited for long.
    systemd-run --quiet --unit=rtvirt-guest --property=LimitMEMLOCK=infinity --property=TimeoutStopSec=10 ${cores:+"--property=CPUAffinity=$cores"} "$@"
  else
    # shellcheck disable=SC2016  # the inner shell's
    setsid sh -c 'echo $$ >"$1"; shift; ulimit -l unlimited; exec "$@"' sh "$run/guest.pid" ${cores:+taskset --cpu-list "$cores"} "$@" \
      >"$run/guest.log" 2>&1 </dev/null &
    sleep 0.2
  fi
}
unit_said() {
  # Not what systemd says of it.
  if unit_systemd; then journalctl _SYSTEMD_UNIT=rtvirt-guest.service --lines=3 --output=cat; else tail -n 3 "$run/guest.log"; fi 2>/dev/null | tr '\n' ' '
}
# Whether the process is still there, if only to give its memory back, which its first thread does not wait for; one that nobody has asked for
# its status yet is not.
unit_runs() {
  IFS= read -r stat 2>/dev/null <"/proc/$pid/stat" || return 1
  set -- "/proc/$pid/task"/*
  case ${stat##*) } in Z*) [ $# -gt 1 ] ;; esac
}
unit_stop() {
  if unit_systemd; then
    systemctl stop rtvirt-guest
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
