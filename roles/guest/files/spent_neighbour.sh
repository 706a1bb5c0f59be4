# shellcheck shell=sh disable=SC2154
# check mode: safe
# Stop a neighbour that has another load than LOAD, or whose load has ended: it starts anew. Needs: neighbour.sh, stop_guest.sh.
spent() {
  [ "$(cat "$run/guest.load" 2>/dev/null)" = "$LOAD" ] || return 0
  case $(neighbour_said) in 'runs '*) return 1 ;; esac
}
[ ! -d "$run" ] || ! spent || stop_guest
