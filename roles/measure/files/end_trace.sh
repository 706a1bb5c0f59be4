# shellcheck shell=sh disable=SC2154
# Stop this machine's trace, read its end and remove the instance; then ask rtla. Needs: trace_instance.sh, rtla.sh and their variables.
# TRACE_INSTANCE, TRACE_LINES (at most, the last ones), TRACE_FILE (name of the file in the reply). Rows of the table `trace_buffers`: what each core's buffer has
# lost. Fact `trace_stopped`: whether something had ended it before this did.
find_tracefs
instance=$tracefs/instances/$TRACE_INSTANCE
[ -d "$instance" ] || fail "This machine has no trace; was its time over?"
read -r is_on <"$instance/tracing_on"
[ "$is_on" = 1 ] && stopped=no || stopped=yes
fact trace_stopped "$stopped"
echo 0 >"$instance/tracing_on"
say_clocks
end_guard
folder=
trap 'rm -rf "$folder"; remove_instance' EXIT
folder=$(mktemp -d "/tmp/rtvirt.$$.XXXXXX") || fail "There is no room in /tmp."
for buffer in "$instance"/per_cpu/cpu*; do
  awk -v cpu="${buffer##*/cpu}" -F ': ' '
    { value[$1] = $2 }
    END { printf "@row trace_buffers cpu=%s entries=%d overrun=%d dropped=%d\n", cpu, value["entries"], value["overrun"], value["dropped events"] }
  ' "$buffer/stats"
done
# The last lines, below the kernel's own line on how many there were; when there were more, it says that some are missing.
awk -v most="$TRACE_LINES" '
  /^# entries-in-buffer/ { head = $0; next }
  /^#[ \t]/ || /^#$/ { next }
  { kept[count++ % most] = $0 }
  END {
    if (count > most) sub(/: [0-9]+/, ": " most - 1, head)
    print head
    for (n = count > most ? count - most : 0; n < count; n++) print kept[n % most]
  }
' "$instance/trace" >"$folder/trace"
file "$TRACE_FILE" "$folder/trace"
remove_instance || fail "The ftrace instance $TRACE_INSTANCE cannot be removed; something still reads it."
ask_rtla "$folder"
