# shellcheck shell=sh
# check mode: safe
# What was last wanted of the guest, as roles/guest/files/place_guest.sh left it.
wanted=/run/rtvirt/guest.wanted
[ ! -r "$wanted" ] || while read -r name value; do fact "guest_$name" "$value"; done <"$wanted"
