# shellcheck shell=sh disable=SC2154
# check mode: safe
# Read back the board's guest: QEMU's version, arguments and threads with CPU affinity, policy and priority, whether it runs under KVM or is
# emulated (tcg), and KVM's count of exits. Needs: unit_pid.sh of the role guest, thread.sh of cpu_isolation.
guest_thread() {
  case $name in
  'CPU '*/KVM) table=vcpu_threads accelerator=kvm ;;
  'CPU '*/TCG) table=vcpu_threads accelerator=tcg ;;
  *) table=qemu_threads ;;
  esac
  printf '@row %s tid=%s cpus=%s last_ran_on=%s policy=%s priority=%s name=%s\n' \
    "$table" "${task##*/}" "$affinity" "$last_ran_on" "$policy" "$priority" "$name"
}
guest_threads() {
  pid=$(unit_pid)
  if [ -z "$pid" ] || [ ! -d "/proc/$pid" ]; then
    fact guest_running no
    return 0
  fi
  fact guest_running yes
  fact qemu_version "$(cat /run/rtvirt/guest.version)"
  fact qemu_argv "$(tr '\0' ' ' <"/proc/$pid/cmdline")"

  accelerator=
  each_thread guest_thread "/proc/$pid/task/*"

  # Locked memory and huge pages, in KiB; a kernel without huge pages has no such line.
  while read -r key value _; do
    case $key in VmLck:) fact qemu_locked_kib "$value" ;; HugetlbPages:) fact qemu_huge_kib "$value" ;; esac
  done <"/proc/$pid/status"

  fact guest_accelerator "$accelerator"
  # The result of the role kvm_host's probe.
  [ ! -r /run/rtvirt/accelerator ] || fact accelerator_reason "$(sed -n 3p /run/rtvirt/accelerator)"

  held=no
  # shellcheck disable=SC2010  # only names of the kernel's; find of busybox knows no targets of links
  ! ls -l "/proc/$pid/fd" 2>/dev/null | grep -q ' -> /dev/kvm$' || held=yes
  fact kvm_held_by_qemu "$held"
  for counter in /sys/kernel/debug/kvm/"$pid"-*/exits /sys/kernel/debug/kvm/exits; do
    [ -r "$counter" ] || continue
    read -r exits <"$counter"
    fact kvm_exits "$exits"
    break
  done
}
guest_threads
