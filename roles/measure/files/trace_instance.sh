# shellcheck shell=sh
# Functions for an ftrace instance of rtvirt's own; nothing else on this machine that is traced is touched. TRACE_INSTANCE: its name.
# shellcheck disable=SC2153

# Set tracefs to where it is mounted, and mount it if it is not.
find_tracefs() {
  tracefs=$(awk '$3 == "tracefs" && $2 !~ /debug/ { print $2; exit }' /proc/mounts)
  [ -z "$tracefs" ] || return 0
  grep -q tracefs /proc/filesystems || fail "This kernel has no ftrace (tracefs); take a kernel with CONFIG_FTRACE."
  tracefs=/sys/kernel/tracing
  mount -t tracefs nodev "$tracefs" || fail "tracefs cannot be mounted at $tracefs; is this user root?"
}

# Remove the instance with all that it holds; fails if somebody else has it open.
remove_instance() {
  instance=$tracefs/instances/$TRACE_INSTANCE
  [ -d "$instance" ] || return 0
  echo 0 >"$instance/tracing_on"
  echo >"$instance/set_event"
  tries=0
  until rmdir "$instance" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 50 ] || return 1
    sleep 0.1
  done
}

# End the process that would remove the instance by itself.
end_guard() {
  [ -s "/run/rtvirt/$TRACE_INSTANCE.trace" ] || return 0
  read -r guard <"/run/rtvirt/$TRACE_INSTANCE.trace"
  rm -f "/run/rtvirt/$TRACE_INSTANCE.trace"
  ! kill -s KILL -- "-$guard" 2>/dev/null || wait "$guard" 2>/dev/null
}

# Rows of the tables clocks and ptp: this machine's clocks at one instant, and in a guest its host's too. None where the program is not there.
say_clocks() {
  ! command -v rtvirt-read-clocks >/dev/null || rtvirt-read-clocks
}

# exec_in_instance COMMAND...: exec COMMAND in a mount namespace in which the instance is all of tracefs, so that cyclictest's mark and stop go there.
# shellcheck disable=SC2016  # expanded by the inner shell
exec_in_instance() {
  exec unshare -m sh -c '
    instance=$1; shift
    [ -d /sys/kernel/debug/tracing ] || mount -t debugfs nodev /sys/kernel/debug 2>/dev/null
    for place in /sys/kernel/debug/tracing /sys/kernel/tracing; do
      if ls "$place" >/dev/null 2>&1; then mount -o bind "$instance" "$place" || exit 125; fi
    done
    exec "$@"' sh "$tracefs/instances/$TRACE_INSTANCE" "$@"
}
