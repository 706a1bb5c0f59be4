# shellcheck shell=sh disable=SC2154
# End the guest's unit and give back what it held. Reads: unit.sh.
stop_guest() {
  # Large pages that were set aside for its memory go back, also after a QEMU that died.
  give_back() {
    ! grep -q " $run/huge_pages " /proc/mounts || { umount "$run/huge_pages" && rmdir "$run/huge_pages"; }
    [ ! -s "$run/guest.huge_pages" ] || cat "$run/guest.huge_pages" >/proc/sys/vm/nr_hugepages
    rm -f "$run/definition" "$run/guest.huge_pages" "$run/guest.vcpus" "$run/guest.initrd" "$run"/guest.qmp.* "$run/guest.scratch"
  }
  if [ -n "$(unit_pid)" ]; then
    changed "stopped the guest"
    [ "$RTVIRT_CHECK_MODE" = no ] || return 0
    unit_stop
    give_back
  elif [ "$RTVIRT_CHECK_MODE" = no ] && { [ -e "$run/definition" ] || [ -d "$run/huge_pages" ]; }; then
    give_back
  fi
}
