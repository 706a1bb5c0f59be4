# shellcheck shell=sh
# check mode: safe
# The state last requested of the guest, as recorded by roles/guest/files/place_guest.sh.
wanted=/run/rtvirt/guest.wanted
[ ! -r "$wanted" ] || while read -r name value; do fact "guest_$name" "$value"; done <"$wanted"
