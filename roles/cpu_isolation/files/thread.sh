# shellcheck shell=sh disable=SC2034
# check mode: safe
# Read name, CPU affinity, scheduling policy and priority of threads; set the last two with chrt. A thread's folder is /proc/PID or
# /proc/PID/task/TID.

# read_thread FOLDER: set name, flags, last_ran_on, priority and policy. Fails if the thread has ended.
read_thread() {
  IFS= read -r stat 2>/dev/null <"$1/stat" || return 1
  take_stat
}

# Take these from stat, a thread's line of that name: fields 2, 9, 39, 40 and 41 (proc(5)). The name may hold spaces and parentheses.
take_stat() {
  name=${stat#*(} name=${name%)*}
  # shellcheck disable=SC2086  # split into fields
  set -- ${stat#*"($name) "}
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

# each_thread COMMAND FOLDERS (a pattern): call COMMAND for each thread with a list of cores, with task, its folder, and what read_thread and
# read_affinity set. One grep reads them all: the shell takes a system call for each byte, and an emulated board feels a thousand of a thread.
each_thread() {
  for_each=$1 old_ifs=$IFS
  # Of stat, statm and status two have such lines, one after the other. Texts, since an expression takes busybox longer than the kernel its answer.
  # shellcheck disable=SC2086  # the pattern
  lines=$(grep -sF -e ' (' -e 'Cpus_allowed_list:' $2/stat*)
  set -f
  IFS='
'
  # shellcheck disable=SC2086  # split into lines
  set -- $lines
  IFS=$old_ifs
  set +f
  task=
  for line do
    case $line in
    "$task/stat:"*) ;;  # the rest of a name with a line break
    */stat:*) task=${line%%/stat:*} stat=${line#*/stat:} ;;
    "$task/status:Cpus_allowed_list:"*)
      affinity=${line##*[!0-9,-]}
      ! take_stat || "$for_each" ;;
    esac
  done
}

# set_policy POLICY PRIORITY TID: with the short options, the only ones of busybox
set_policy() {
  case $1 in other) option=-o ;; fifo) option=-f ;; rr) option=-r ;; batch) option=-b ;; idle) option=-i ;; *) return 1 ;; esac
  chrt "$option" -p "$2" "$3"
}
