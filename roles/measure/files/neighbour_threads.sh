# shellcheck shell=sh disable=SC2154
# check mode: safe
# Read back the board's neighbour, if there is one: whether it runs, what its load says, QEMU's arguments, and its threads with CPU affinity,
# policy, priority and the time that they have run, in ticks of 1/100 s. Needs: unit_pid.sh and neighbour.sh of the role guest, thread.sh of
# cpu_isolation.
neighbour_thread() {
  case $name in
  'CPU '*/KVM) table=neighbour_vcpu_threads accelerator=kvm ;;
  'CPU '*/TCG) table=neighbour_vcpu_threads accelerator=tcg ;;
  *) table=neighbour_qemu_threads ;;
  esac
  # shellcheck disable=SC2086  # split into fields: 14 and 15 of proc(5), of which the first two are cut off
  set -- ${stat#*"($name) "}
  printf '@row %s tid=%s cpus=%s policy=%s priority=%s ticks=%s name=%s\n' \
    "$table" "${task##*/}" "$affinity" "$policy" "$priority" "$((${12} + ${13}))" "$name"
}
neighbour_threads() {
  [ -d "$run" ] || return 0
  fact neighbour_load "$(neighbour_said)"
  pid=$(unit_pid)
  if [ -z "$pid" ] || [ ! -d "/proc/$pid" ]; then
    fact neighbour_running no
    fact neighbour_end "$(neighbour_end)"
    return 0
  fi
  fact neighbour_running yes
  fact neighbour_argv "$(tr '\0' ' ' <"/proc/$pid/cmdline")"
  accelerator=
  each_thread neighbour_thread "/proc/$pid/task/*"
  fact neighbour_accelerator "$accelerator"
}
neighbour_threads
