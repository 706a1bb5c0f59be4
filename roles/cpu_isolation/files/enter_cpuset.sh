# shellcheck shell=sh
# Where cores are kept with cpusets, what is to use them has to be let in. What knows how is written by cpuset.sh; without it there is nothing to do.
cpuset_door=/run/rtvirt/cpuset.enter
# enter_cpuset THREAD PROCESS SIDE: on the guest's cores (guest) or the host's (host)
enter_cpuset() { [ ! -s "$cpuset_door" ] || sh "$cpuset_door" "$1" "$2" "$3"; }
# with_cpuset COMMAND...: run it on the guest's cores
# shellcheck disable=SC2016  # the inner shell's
with_cpuset() { sh -c '[ ! -s "$0" ] || sh "$0" $$ $$ guest; exec "$@"' "$cpuset_door" "$@"; }
