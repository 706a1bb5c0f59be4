# shellcheck shell=sh
# Where cores are kept with cpusets, what is to use them has to be let in. What knows how is written by cpuset.sh; without it there is nothing to do.
cpuset_entry_script=/run/rtvirt/cpuset.enter
# enter_cpuset THREAD PROCESS SIDE: on the guest's cores (guest) or the host's (host)
enter_cpuset() { [ ! -s "$cpuset_entry_script" ] || sh "$cpuset_entry_script" "$1" "$2" "$3"; }
# exec_on_guest_cpus COMMAND...: become it, after having been let in
# shellcheck disable=SC2016  # the inner shell's
exec_on_guest_cpus() {
  [ -s "$cpuset_entry_script" ] || exec "$@"
  exec sh -c 'sh "$0" $$ $$ guest; exec "$@"' "$cpuset_entry_script" "$@"
}
# check mode: safe
