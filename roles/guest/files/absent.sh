# shellcheck shell=sh
# check mode: safe
# Stop the guest. Needs: unit.sh, stop_guest.sh. NAME.
stop_guest
