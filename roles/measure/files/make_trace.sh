# shellcheck shell=sh disable=SC2154
# Make this machine's ftrace instance with its buffers; nothing is traced yet. It is there until end_trace.sh, or for TRACE_LIMIT_S at most. What a killed run
# left behind is removed first. Needs: trace_instance.sh.
# TRACE_INSTANCE (name), TRACE_BUFFER_KIB (for each core), TRACE_LIMIT_S.
# Buffers are sized by a worker on each core: before a vCPU that never sleeps takes its core.
BUFFER_LIMIT_S=10
find_tracefs
end_guard
remove_instance || fail "The ftrace instance $TRACE_INSTANCE of an ended run cannot be removed; something still reads it."
instance=$tracefs/instances/$TRACE_INSTANCE
mkdir "$instance" || fail "No ftrace instance can be made in $tracefs/instances."
trap '[ -n "$made" ] || remove_instance' EXIT
made=
grep -qw mono_raw "$instance/trace_clock" || fail "This kernel's ftrace has no clock mono_raw; take Linux 4.2 or newer."
[ -e "$instance/events/sched/sched_switch" ] ||
  fail "This kernel has no trace events of its scheduler (sched_switch); take a kernel with CONFIG_FTRACE and a tracer."
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
  fail "The trace buffers were not sized within $BUFFER_LIMIT_S s: a core is never left to the kernel's workers; make the trace before the guest has its priority."
wait "$sizing" || fail "There is no room for trace buffers of $TRACE_BUFFER_KIB KiB for each core."

# Its guard removes it: when its time is over, or at once when it is sent SIGTERM, as hold_machine.sh does with that of an ended run.
# shellcheck disable=SC2016  # expanded by the inner shell
command -v setsid >/dev/null && {
  mkdir -p /run/rtvirt
  setsid sh -c 'sleep "$0" & trap "kill $!" TERM; wait $!; echo 0 >"$1/tracing_on"; echo >"$1/set_event"; rmdir "$1"; rm -f "$2"' \
    "$TRACE_LIMIT_S" "$instance" "/run/rtvirt/$TRACE_INSTANCE.trace" </dev/null >/dev/null 2>&1 9>&- &
  echo $! >"/run/rtvirt/$TRACE_INSTANCE.trace"
}
made=yes
