# shellcheck shell=sh disable=SC2154
# check mode: safe
# Stop the guest's unit and release its resources. Needs: unit.sh.
stop_guest() {
  give_back() {
    ! grep -q " $run/huge_pages " /proc/mounts || { umount "$run/huge_pages" && rmdir "$run/huge_pages"; }
    [ ! -s "$run/guest.huge_pages" ] || cat "$run/guest.huge_pages" >/proc/sys/vm/nr_hugepages
    rm -f "$run/definition" "$run/guest.wanted" "$run/guest.huge_pages" "$run/guest.vcpus" "$run/guest.version" "$run/guest.initrd" "$run/guest.load" "$lib/guest.scratch"
  }
  if [ -n "$(unit_pid)" ]; then
    changed "stopped the $who"
    [ "$RTVIRT_CHECK_MODE" = no ] || return 0
    unit_stop
  fi
  # Also when QEMU has ended by itself, or never started.
  [ "$RTVIRT_CHECK_MODE" = yes ] || give_back
}
