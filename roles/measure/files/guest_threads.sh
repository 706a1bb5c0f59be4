# shellcheck shell=sh
# check mode: safe
# How the board holds its guest: QEMU's version, arguments and threads with their cores, policies and priorities, whether KVM runs it or QEMU
# emulates it (tcg), and KVM's own count. Reads: unit_pid.sh of the role guest.
guest_threads() {
  pid=$(unit_pid)
  if [ -z "$pid" ] || [ ! -d "/proc/$pid" ]; then
    fact guest_running no
    return 0
  fi
  fact guest_running yes
  fact qemu_version "$("/proc/$pid/exe" --version | sed -n 's/^QEMU emulator version //p')"
  fact qemu_argv "$(tr '\0' ' ' <"/proc/$pid/cmdline")"

  accelerator=
  # Fields 39 to 41 of stat are the core it last ran on, its priority and its policy (proc(5)); the name may hold spaces.
  for task in /proc/"$pid"/task/*; do
    IFS= read -r stat <"$task/stat" || continue
    # shellcheck disable=SC2086  # the fields are words
    set -- ${stat##*) }
    case ${39} in 0) policy=other ;; 1) policy=fifo ;; 2) policy=rr ;; *) policy="number ${39}" ;; esac
    IFS= read -r name <"$task/comm"
    cpus=
    while read -r key value; do [ "$key" != Cpus_allowed_list: ] || cpus=$value; done <"$task/status"
    case $name in
    'CPU '*/KVM) table=vcpu_threads accelerator=kvm ;;
    'CPU '*/TCG) table=vcpu_threads accelerator=tcg ;;
    *) table=qemu_threads ;;
    esac
    printf '@row %s tid=%s cpus=%s last_ran_on=%s policy=%s priority=%s name=%s\n' \
      "$table" "${task##*/}" "$cpus" "${37}" "$policy" "${38}" "$name"
  done

  # How its memory is held, in KiB; a kernel without huge pages does not tell of them.
  while read -r key value _; do
    case $key in VmLck:) fact qemu_locked_kib "$value" ;; HugetlbPages:) fact qemu_huge_kib "$value" ;; esac
  done <"/proc/$pid/status"

  fact guest_accelerator "$accelerator"
  # What became of the board's KVM, as the role kvm_host left it.
  [ ! -r /run/rtvirt/accelerator ] || fact accelerator_reason "$(sed -n 3p /run/rtvirt/accelerator)"

  held=no
  for descriptor in /proc/"$pid"/fd/*; do
    case $(readlink "$descriptor") in /dev/kvm) held=yes ;; esac
  done
  fact kvm_held_by_qemu "$held"
  for counter in /sys/kernel/debug/kvm/"$pid"-*/vcpu*/exits /sys/kernel/debug/kvm/exits; do
    [ -r "$counter" ] || continue
    read -r exits <"$counter"
    fact kvm_exits "$exits"
    break
  done
}
guest_threads
