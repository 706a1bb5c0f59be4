# shellcheck shell=sh disable=SC2154
# check mode: safe
# Give a neighbour that has just started its load, and wait until all of it runs. Needs: neighbour.sh, start_guest.sh.
# LOAD: a script for the neighbour's shell, which never ends; TIMEOUT_S: of the board's clock.
# It goes by the mailbox (guest_init.sh of guest_image): number and length in the first block, the text from the second block on.
give_load() {
  printf '%s\n' "$LOAD" >"$run/guest.load"
  dd if="$run/guest.load" of="$run/guest.mailbox" bs=512 seek=1 conv=notrunc 2>/dev/null
  printf '1 %s\n' "$(wc -c <"$run/guest.load")" | dd of="$run/guest.mailbox" bs=512 conv=notrunc,sync 2>/dev/null
  read -r began _ </proc/uptime
  while :; do
    said=$(neighbour_said)
    case $said in
    'runs '*) break ;;
    'ended: '*) give_up "The load of the neighbour does not run: ${said#ended: }" ;;
    esac
    [ -n "$(unit_pid)" ] || give_up "The neighbour ended before its load ran: $(neighbour_end) $(unit_said)"
    read -r now _ </proc/uptime
    [ $((${now%.*} - ${began%.*})) -lt "$TIMEOUT_S" ] || give_up "The load of the neighbour did not run after $TIMEOUT_S s of the board's time: $(neighbour_end)"
    sleep 0.5
  done
}
[ -s "$run/guest.load" ] || give_load
