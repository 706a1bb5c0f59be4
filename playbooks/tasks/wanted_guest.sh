# shellcheck shell=sh
# What was last wanted of the guest, as roles/guest/files/place_guest.sh left it.
while read -r name value; do fact "guest_$name" "$value"; done 2>/dev/null <"/run/rtvirt/guest.wanted"
