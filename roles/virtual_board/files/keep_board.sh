#!/bin/sh
# Run QEMU, and end it when the process that owns the board has ended: an idle board keeps a core busy.
# usage: keep_board.sh OWNER_PID FOLDER QEMU_COMMAND...     OWNER_PID 0: none, the board is kept
# RESETS=keeper: QEMU ends when its machine resets, and is started again. FIRMWARE=rpi: before each start PYTHON emulates the firmware of
# a Raspberry Pi and selects kernel, device tree and command line from the card's boot partition of BOOT_MIB, which QEMU_IMG reads.
set -u
owner=$1 folder=$2
shift 2
cd "$folder" || exit 1
stopped=

# A pid may be reused; with the start time (field 22 of stat, after the name in parentheses) it is unique.
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

firmware_of_rpi() {
  rm -rf firmware && mkdir -p firmware/boot &&
    "$QEMU_IMG" dd -f qcow2 -O raw bs=1M skip=1 "count=$((BOOT_MIB + 1))" if=card.qcow2 of=firmware/boot.img &&
    mcopy -s -Q -i firmware/boot.img ::/ firmware/boot &&
    "$PYTHON" -m rtvirt_runner.media.rpi_firmware firmware/boot firmware >>console.log
}

# Whether the machine has powered off rather than reset; QEMU ends in both cases.
is_off() { tail -c 400 console.log 2>/dev/null | grep -q 'reboot: Power down\|reboot: System halted'; }

run() {
  case $FIRMWARE in
  rpi)
    firmware_of_rpi || return 1
    set -- "$@" -kernel firmware/kernel -dtb firmware/device_tree -append "$(cat firmware/cmdline)"
    [ ! -e firmware/initramfs ] || set -- "$@" -initrd firmware/initramfs
    ;;
  esac
  [ -z "$stopped" ] || return 0
  "$@" </dev/null &
  qemu=$!
  # The process that lives as long as the board. Whoever reads the file finds all of it: a board without a number counts as ended.
  if [ "$RESETS" = keeper ]; then echo "$$"; else echo "$qemu"; fi >pid.new && mv pid.new pid
  seconds=0  # since it was told to end
  while kill -0 "$qemu" 2>/dev/null; do
    if [ -n "$stopped" ]; then
      seconds=$((seconds + 1))
      [ "$seconds" -lt 10 ] || kill -KILL "$qemu"
    elif [ "$owner" -ne 0 ] && [ "$(started "$owner")" != "$owner_started" ]; then
      stopped=yes
      kill -TERM "$qemu"
    # With some machines QEMU does not exit on power off.
    elif [ "$RESETS" = keeper ] && is_off; then
      stopped=yes
      kill -TERM "$qemu"
    fi
    # QEMU appends, so a console that has grown beyond all use can begin again.
    [ -z "$(find console.log -size +65536k 2>/dev/null)" ] || : >console.log
    sleep 1
  done
  wait "$qemu"
}

exec >qemu.log 2>&1
# An idle board takes all that it gets of a core: whoever works with it comes first, also where Linux shares cores out by sessions.
renice -n 4 -p "$$" >/dev/null 2>&1
if [ -w /proc/self/autogroup ]; then echo 4 >/proc/self/autogroup; fi
owner_started=$(started "$owner")
if [ "$owner" -ne 0 ] && [ -z "$owner_started" ]; then
  echo "The process $owner, which owns the board, has ended before QEMU was started."
  exit 1
fi
qemu=
trap 'stopped=yes; [ -z "$qemu" ] || kill -TERM "$qemu"' TERM INT HUP
while :; do
  run "$@"
  status=$?
  echo "QEMU ended with status $status"
  if [ "$RESETS" != keeper ] || [ "$status" -ne 0 ] || [ -n "$stopped" ] || is_off; then break; fi
done
# Only this board's own pid file: the next board may have been started here by now.
case $(cat pid 2>/dev/null) in "$qemu" | "$$") rm -f pid owner ;; esac
