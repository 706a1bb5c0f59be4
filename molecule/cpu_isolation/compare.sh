# shellcheck shell=sh
# Byte for byte as before.
difference=$(diff /run/rtvirt/before /run/rtvirt/after) || fail "This differs from how it was before: $difference"
rm -f /run/rtvirt/before /run/rtvirt/after
changed "removed the snapshots"
