# shellcheck shell=sh
# Remove what guest and workloads have brought to a board.
remove() {
  for path in "$@"; do
    [ -e "$path" ] || continue
    changed "removed $path"
    [ "$RTVIRT_CHECK_MODE" = yes ] || rm -rf "$path"
  done
}
sums=/usr/local/lib/rtvirt-workloads/sums
[ ! -s "$sums" ] || while read -r _ path; do
  remove "/usr/local/$path" "/usr/local/${path%.tar.gz}"  # a package's program is unpacked beside it when it is first used
done <"$sums"
remove "$sums" /var/lib/rtvirt /run/rtvirt
rmdir /usr/local/lib/rtvirt-workloads 2>/dev/null || :
