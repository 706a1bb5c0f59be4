# shellcheck shell=sh disable=SC2154
# Remove this machine's trace, if it has one, and read nothing of it. Needs: trace_instance.sh. TRACE_INSTANCE.
find_tracefs
end_guard
remove_instance || fail "The ftrace instance $TRACE_INSTANCE cannot be removed; something still reads it."
