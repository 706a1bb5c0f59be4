# shellcheck shell=sh
# check mode: safe
# Remove what guest and workloads have brought to a board.
sums=/usr/local/lib/rtvirt-workloads/sums
[ ! -s "$sums" ] || while read -r _ program; do
  remove "/usr/local/$program" "/usr/local/${program%.tar.gz}"  # a package's program is unpacked beside it when it is first used
done <"$sums"
remove "$sums" /var/lib/rtvirt /run/rtvirt
[ "$RTVIRT_CHECK_MODE" = yes ] || rmdir /usr/local/lib/rtvirt-workloads 2>/dev/null || :
