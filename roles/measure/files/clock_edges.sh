# shellcheck shell=sh
# Relate a guest's CLOCK_MONOTONIC to the wall clock of its board. The seconds of the PL031 that QEMU gives a guest are those of the board's wall clock, so the
# instant at which the clock goes to the next second is one that both know. Rows of the table `clock_edges`, one per such instant: the second, and between which
# times of the guest's clock it began (ns). Other real-time clocks count their seconds from QEMU's start: without a PL031 the fact `no_clock_edges` says why.
rtc=${RTC:-/sys/class/rtc/rtc0}
CLOCK_EDGES=4  # the more, the narrower what they leave in common

# Set now to CLOCK_MONOTONIC in ns, as the kernel's list of timers begins with it. The clock is read when the list is opened: a time before what follows.
read_monotonic() { { read -r _; read -r _; read -r _ _ now _; } 2>/dev/null </proc/timer_list; }

read_clock_edges() {
  name=none now=
  [ ! -r "$rtc/name" ] || IFS= read -r name <"$rtc/name"
  case $name in
  rtc-pl031*) ;;
  *)
    fact no_clock_edges "its real-time clock in /sys/class/rtc is ${name%% *}, expected rtc-pl031, whose seconds are those of the board's wall clock"
    return
    ;;
  esac
  read_monotonic
  case $now in '' | *[!0-9]*) fact no_clock_edges "its kernel has no /proc/timer_list, which begins with its clock"; return ;; esac
  edges=0 looks=0
  since=$now
  read -r second <"$rtc/since_epoch"
  while [ "$edges" -lt "$CLOCK_EDGES" ] && [ "$looks" -lt 1000000 ]; do
    looks=$((looks + 1))
    read_monotonic
    before=$now
    read -r found <"$rtc/since_epoch"
    if [ "$found" = "$second" ]; then
      since=$before
      continue
    fi
    read_monotonic
    printf '@row clock_edges second=%s since_ns=%s until_ns=%s\n' "$found" "$since" "$now"
    second=$found edges=$((edges + 1))
    # For another time each, so that looks fall at other distances from the edges, and leave less between them together.
    [ "$edges" -eq "$CLOCK_EDGES" ] || sleep "0.9$((edges * 137))"
  done
}
