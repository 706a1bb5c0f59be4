# shellcheck shell=sh disable=SC2154
# What rtla's own analysis says of a late wake-up, of the thread that its tracer timerlat has on a core.
# RTLA_THRESHOLD_US (empty: it is not asked), RTLA_FILE (name of the file in the reply), RTLA_LIMIT_S, CPU, INTERVAL_US, PRIORITY as in break_cyclictest.sh.

# ask_rtla FOLDER: into the reply goes what it says, complaints too; where there is no rtla, nothing.
ask_rtla() {
  [ -n "$RTLA_THRESHOLD_US" ] && command -v rtla >/dev/null || return 0
  (
    cd "$1" || exit  # it writes its own trace beside it
    exec timeout -s INT -k 10 "$RTLA_LIMIT_S" rtla timerlat top --quiet --auto "$RTLA_THRESHOLD_US" --cpus "$CPU" --priority "f:$PRIORITY" --period "$INTERVAL_US"
  ) >"$1/rtla" 2>&1 </dev/null
  fact rtla_status $?
  file "$RTLA_FILE" "$1/rtla"
}
