# shellcheck shell=sh
# The unit has ended; what the role brought goes too.
! systemctl --quiet is-active rtvirt-guest || fail "The guest still runs."
rm -rf /var/lib/rtvirt /run/rtvirt
changed "removed the guest's files"
