# shellcheck shell=sh disable=SC2154
# check mode: safe
# Wait for QEMU's vCPUs and write the number of each and of the thread that runs it to guest.vcpus. A thread says so by its name, "CPU 0/KVM"
# (QEMU's -name debug-threads=on). Counted in looks rather than seconds, which race on an emulated board that waits for its disk.
find_vcpus() {
  looks=0 found=0
  while pid=$(unit_pid) && [ -n "$pid" ] && [ "$looks" -lt 2000 ]; do
    found=0
    for task in "/proc/$pid/task"/*; do
      IFS= read -r name 2>/dev/null <"$task/comm" || continue
      case $name in 'CPU '[0-9]*/*) ;; *) continue ;; esac
      name=${name#CPU } found=$((found + 1))
      printf '%s %s\n' "${name%%/*}" "${task##*/}"
    done >"$run/guest.vcpus"
    [ "$found" -lt "$VCPUS" ] || return 0
    looks=$((looks + 1))
    sleep 0.1
  done
  [ -n "$pid" ] || give_up "QEMU ended: $(unit_said)"
  give_up "QEMU has the threads of $found vCPUs, expected $VCPUS: $(unit_said)"
}
