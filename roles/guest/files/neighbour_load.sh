# shellcheck shell=sh disable=SC2154
# In the neighbour: run its programs until it is stopped, and say on its console when all of them run, and when one does not.
# Needs: enter_cpuset.sh of cpu_isolation, run_workload.sh of measure.
# PROGRAMS: how many; of number N NAME_N, and COMMAND_N, PREPARE_N, CPUS_N, REPEAT_N and FOLDER_N as of measure_cell.sh.
say() { printf 'neighbour: %s\n' "$*" >/dev/console; }
fail() {
  say "ended: $name: $*"
  exit 1
}

run_program() {  # NUMBER
  for each in COMMAND PREPARE CPUS REPEAT FOLDER; do eval "$each=\${${each}_$1}"; done
  folder=$(mktemp -d /tmp/load.XXXXXX) || fail "There is no room in /tmp."
  # What it prints is not kept: it runs for hours, in memory.
  ln -s /dev/null "$folder/workload.txt"
  begin_workload
  : >"/tmp/begun.$1"
  wait "$workload"
  fail "it ended with status $?: $(tail -n 2 "$folder/workload.err" 2>/dev/null | tr '\n' ' ')"
}

number=0 names=
while [ "$number" -lt "$PROGRAMS" ]; do
  number=$((number + 1))
  eval "name=\$NAME_$number"
  names=${names:+$names }$name
  run_program "$number" &
done
number=0
while [ "$number" -lt "$PROGRAMS" ]; do
  number=$((number + 1))
  until [ -e "/tmp/begun.$number" ]; do sleep 0.1; done
done
say "runs ${names:-nothing}"
while :; do sleep 86400; done
