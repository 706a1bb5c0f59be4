# shellcheck shell=sh disable=SC2034
# check mode: safe
# Read name, CPU affinity, scheduling policy and priority of a thread with shell builtins alone; set the last two with chrt.

# read_thread FOLDER (/proc/PID or /proc/PID/task/TID): set name, flags, last_ran_on, priority and policy from its stat, fields 2, 9, 39, 40
# and 41 (proc(5)); the name may hold spaces and parentheses. Fails if the thread has ended.
read_thread() {
  IFS= read -r stat 2>/dev/null <"$1/stat" || return 1
  name=${stat#*(} name=${name%)*}
  # shellcheck disable=SC2086  # split into fields
  set -- ${stat##*) }
  [ $# -ge 39 ] || return 1  # a line break in the name cuts the line
  flags=$7 last_ran_on=${37} priority=${38}
  # The kernel's numbers of policies, include/uapi/linux/sched.h.
  case ${39} in
  0) policy=other ;; 1) policy='fifo' ;; 2) policy=rr ;; 3) policy='batch' ;; 5) policy=idle ;; 6) policy=deadline ;; 7) policy=ext ;;
  *) policy="number ${39}" ;;
  esac
}

# read_affinity FOLDER: set affinity to its list of cores, empty if the thread has ended
read_affinity() {
  affinity=
  while read -r key value; do [ "$key" != Cpus_allowed_list: ] || affinity=$value; done 2>/dev/null <"$1/status"
}

# set_policy POLICY PRIORITY TID: with the short options, the only ones of busybox
set_policy() {
  case $1 in other) option=-o ;; fifo) option=-f ;; rr) option=-r ;; batch) option=-b ;; idle) option=-i ;; *) return 1 ;; esac
  chrt "$option" -p "$2" "$3"
}
