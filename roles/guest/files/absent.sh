# shellcheck shell=sh
# check mode: safe
# No guest runs. Reads: unit.sh, stop_guest.sh. NAME.
stop_guest
