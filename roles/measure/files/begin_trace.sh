# shellcheck shell=sh disable=SC2154
# Begin to trace this machine, until end_trace.sh or for TRACE_LIMIT_S at most. What a killed run left behind is removed first. Needs: trace_instance.sh.
# TRACE_INSTANCE (name), TRACE_EVENTS (words: system or system/event), TRACE_BUFFER_KIB (for each core), TRACE_LIMIT_S. Events that this kernel lacks are rows of
# the table `trace_missing`.
# Buffers are sized by a worker on each core: begin before a vCPU that never sleeps takes its core.
BUFFER_LIMIT_S=10
find_tracefs
end_guard
remove_instance || fail "The ftrace instance $TRACE_INSTANCE of an ended run cannot be removed; something still reads it."
instance=$tracefs/instances/$TRACE_INSTANCE
mkdir "$instance" || fail "No ftrace instance can be made in $tracefs/instances."
trap '[ -n "$began" ] || remove_instance' EXIT
began=
grep -qw mono_raw "$instance/trace_clock" || fail "This kernel's ftrace has no clock mono_raw; take Linux 4.2 or newer."
echo 0 >"$instance/tracing_on"
echo mono_raw >"$instance/trace_clock"

echo "$TRACE_BUFFER_KIB" >"$instance/buffer_size_kb" &
sizing=$!
waited=0
while kill -0 "$sizing" 2>/dev/null && [ "$waited" -lt "$((BUFFER_LIMIT_S * 10))" ]; do
  sleep 0.1
  waited=$((waited + 1))
done
! kill -0 "$sizing" 2>/dev/null ||
  fail "The trace buffers were not sized within $BUFFER_LIMIT_S s: a core is never left to the kernel's workers; begin to trace before the guest has its priority."
wait "$sizing" || fail "There is no room for trace buffers of $TRACE_BUFFER_KIB KiB for each core."

for event in $TRACE_EVENTS; do
  if [ -e "$instance/events/$event/enable" ]; then
    echo 1 >"$instance/events/$event/enable" || fail "The event $event cannot be switched on."
  else
    printf '@row trace_missing event=%s\n' "$event"
  fi
done
# shellcheck disable=SC2016  # expanded by the inner shell
command -v setsid >/dev/null && {
  mkdir -p /run/rtvirt
  setsid sh -c 'sleep "$0"; echo 0 >"$1/tracing_on"; echo >"$1/set_event"; rmdir "$1"; rm -f "$2"' \
    "$TRACE_LIMIT_S" "$instance" "/run/rtvirt/$TRACE_INSTANCE.pid" </dev/null >/dev/null 2>&1 9>&- &
  echo $! >"/run/rtvirt/$TRACE_INSTANCE.pid"
}
echo 1 >"$instance/tracing_on"
began=yes
