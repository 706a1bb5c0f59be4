# shellcheck shell=sh disable=SC2154
# check mode: safe
# Stop the neighbour, if there is one, and remove what it left. Needs: neighbour.sh, stop_guest.sh. NAME.
if [ -d "$run" ]; then
  stop_guest
  [ "$RTVIRT_CHECK_MODE" = yes ] || rm -rf "$run"
fi
