# shellcheck shell=sh
# check mode: safe
# The process of the board's guest, or nothing. Where it has a NAME, only that guest's.
# shellcheck disable=SC2034  # others use them
run=/run/rtvirt lib=/var/lib/rtvirt unit=rtvirt-guest who=guest
unit_systemd() { [ -d /run/systemd/system ]; }
unit_pid() {
  if unit_systemd; then
    # No answer at all is no answer: on an emulated board that is overloaded the clock races past systemd's own limits.
    pid='' tries=0
    while [ -z "$pid" ] && [ "$tries" -lt 20 ]; do
      pid=$(systemctl show --property=MainPID --value "$unit" 2>/dev/null)
      tries=$((tries + 1))
    done
    [ "${pid:-0}" = 0 ] || echo "$pid"
  elif [ -s "$run/guest.pid" ]; then
    read -r pid <"$run/guest.pid"
    # Another process may have got the number since.
    [ ! -r "/proc/$pid/cmdline" ] || case $(tr '\0' ' ' <"/proc/$pid/cmdline") in *" guest=${NAME:+$NAME,}"*) echo "$pid" ;; esac
  fi
}
