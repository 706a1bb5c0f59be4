# shellcheck shell=sh disable=SC2154
# Begin to trace this machine, in the instance of make_trace.sh. Needs: trace_instance.sh.
# TRACE_INSTANCE (name), TRACE_EVENTS (words: system/event), TRACE_STOPS (words: system/event:filter, the first of which ends the trace). Events that this
# kernel lacks are rows of the table `trace_missing`; of `clocks` and `ptp`: see say_clocks.
find_tracefs
instance=$tracefs/instances/$TRACE_INSTANCE
[ -d "$instance" ] || fail "This machine has no trace; was its time over?"
for event in $TRACE_EVENTS; do
  if [ -e "$instance/events/$event/enable" ]; then
    echo 1 >"$instance/events/$event/enable" || fail "The event $event cannot be switched on."
  else
    printf '@row trace_missing event=%s\n' "$event"
  fi
done
for stop in $TRACE_STOPS; do
  trigger=$instance/events/${stop%%:*}/trigger
  [ ! -e "$trigger" ] || echo "traceoff if ${stop#*:}" >"$trigger" || printf '@row trace_missing event=%s/trigger\n' "${stop%%:*}"
done
say_clocks
echo 1 >"$instance/tracing_on"
