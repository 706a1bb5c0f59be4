# shellcheck shell=sh
# check mode: safe
# Remove the files that the roles guest and workloads installed on a board.
sums=/usr/local/lib/rtvirt-workloads/sums
[ ! -s "$sums" ] || while read -r _ program; do
  remove "/usr/local/$program" "/usr/local/${program%.tar.gz}"  # an archive is unpacked next to itself on first use
done <"$sums"
remove "$sums" /var/lib/rtvirt /run/rtvirt /run/rtvirt-cell
[ "$RTVIRT_CHECK_MODE" = yes ] || rmdir /usr/local/lib/rtvirt-workloads 2>/dev/null || :
