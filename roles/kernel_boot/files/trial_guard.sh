#!/bin/sh
# Runs while a kernel is on trial: feeds the hardware watchdog, and gives the kernel up when nobody confirms it in time, since a
# kernel without network can only give itself up. `trial_guard confirm` ends it and stops the watchdog.
boot=${BOOT:-/boot}
pid_file=/run/rtvirt-trial-guard

# The only watchdog chip whose driver nothing loads by itself on a board with few udev rules.
i6300esb() {
  for device in /sys/bus/pci/devices/*; do
    [ "$(cat "$device/vendor" "$device/device" 2>/dev/null | tr '\n' ' ')" = '0x8086 0x25ab ' ] && echo "$device" && return
  done
  return 1
}

# A shell would end when it cannot open the device, but for `command`. Some emulated boards are better off without (rtvirt.trial_no_watchdog).
open_watchdog() { [ -z "$without" ] && [ -c /dev/watchdog ] && command exec 3>/dev/watchdog; }

stop_watchdog() {
  # The letter V before the end says that it is meant.
  { printf V >&3; } 2>/dev/null
  command exec 3>&-
  # U-Boot has locked this chip, so that no driver's start can stop it: what remains is to cut its line to the reset (bit 5).
  device=$(i6300esb) && printf '\043\000' | dd of="$device/config" bs=2 seek=48 conv=notrunc 2>/dev/null
}

# A Raspberry Pi whose firmware knows no trials has the untried kernel in config.txt: what it started before comes back as soon as
# this kernel runs and the boot partition is there.
undo() {
  for kept in "$boot/rtvirt/config.txt" "$boot/firmware/rtvirt/config.txt"; do
    [ ! -e "$kept" ] || { mv "$kept" "${kept%/*}/../config.txt" && sync; }
  done
}

say() { echo "<2>rtvirt: $*" >/dev/kmsg; }

uptime_s() { IFS=. read -r seconds _ </proc/uptime; echo "$seconds"; }

# Wait, or on a board whose clock races ahead of ours when it is idle spin, so that a limit by that clock is one by ours too. Not
# in the first minute, in which the board starts: a busy core would slow that down.
rest() {
  until=$(($(uptime_s) + $1))
  if [ -z "$spins" ] || [ "$until" -le "$((began_s + 60))" ]; then
    sleep "$1" &
    wait "$!"  # unlike sleep itself it ends at once when we are told to end
  else
    while IFS=. read -r now _ </proc/uptime && [ "$now" -lt "$until" ]; do :; done
  fi
}

give_up() {
  say "nobody confirmed this trial within $limit_s s: back to the last good kernel"
  state=$boot/rtvirt
  [ ! -d "$boot/firmware/rtvirt" ] || state=$boot/firmware/rtvirt
  # None of these may keep us from the reboot; if even that hangs, nobody feeds the watchdog any longer.
  { dmesg | tail -n 15 >"$state/last_words" && sync; } &
  sleep 3
  reboot -f &
  sleep 20
  echo b >/proc/sysrq-trigger
}

if [ "${1:-}" = undo ]; then
  undo
  exit
elif [ "${1:-}" = confirm ]; then
  guard=$(cat "$pid_file" 2>/dev/null) && kill -USR1 "$guard"
  tries=0
  while [ -e "$pid_file" ] && [ "$tries" -lt 50 ]; do tries=$((tries + 1)); sleep 0.2; done
  [ ! -e "$pid_file" ]
  exit
fi

trap 'stop_watchdog; rm -f "$pid_file"; exit 0' USR1
limit_s=$(sed -n 's/.*rtvirt\.trial=\([0-9]*\).*/\1/p' /proc/cmdline)
case " $(cat /proc/cmdline) " in *' rtvirt.trial_spins '*) spins=yes ;; *) spins= ;; esac
case " $(cat /proc/cmdline) " in *' rtvirt.trial_no_watchdog '*) without=yes ;; *) without= ;; esac
began_s=$(uptime_s)  # that clock may have raced already
echo "$$" >"$pid_file"
i6300esb >/dev/null && modprobe i6300esb 2>/dev/null
open_watchdog
read -r timeout_s </sys/class/watchdog/watchdog0/timeout || timeout_s=16
feed_s=$((timeout_s / 4))
[ "$feed_s" -le 10 ] || feed_s=10  # the limit is looked at in this rhythm too, however patient the watchdog
until [ "$(uptime_s)" -ge "$((began_s + limit_s))" ]; do
  undo
  { [ -e /proc/self/fd/3 ] && printf . >&3; } 2>/dev/null || open_watchdog 2>/dev/null
  rest "$feed_s"
done
give_up
