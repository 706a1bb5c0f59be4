# shellcheck shell=sh
# Remove what guest and workloads have brought to a board.
for path in /var/lib/rtvirt /run/rtvirt /usr/local/bin/rtvirt-*; do
  [ -e "$path" ] || continue
  changed "removed $path"
  [ "$RTVIRT_CHECK_MODE" = yes ] || rm -rf "$path"
done
