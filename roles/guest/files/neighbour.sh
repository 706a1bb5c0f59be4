# shellcheck shell=sh disable=SC2034
# check mode: safe
# The neighbour instead of the measured guest: a guest like it, with folders and a unit of its own. Needs: unit_pid.sh.
run=/run/rtvirt/neighbour lib=/var/lib/rtvirt/neighbour unit=rtvirt-neighbour who=neighbour

# What the neighbour's load has said on its console: `runs NAMES` once all of it runs, `ended: SENTENCE` as soon as a part of it does not.
neighbour_said() {
  said=
  while IFS= read -r line; do
    case $line in
    'neighbour: ended: '*) said=${line#neighbour: }; break ;;
    'neighbour: '*) said=${line#neighbour: } ;;
    esac
  done 2>/dev/null <"$run/guest.console"
  printf '%s\n' "$said" | tr -d '\r'
}

# Why it ended: its kernel's panic, or the last line of its console.
neighbour_end() {
  { grep -m 1 'Kernel panic' "$run/guest.console" || tail -n 1 "$run/guest.console"; } 2>/dev/null | tr -d '\r'
}
