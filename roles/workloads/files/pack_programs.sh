#!/bin/sh
# Put all programs into $OUT/tree, laid out as below /usr/local, and into one archive with their sums, $OUT/workloads.tar.gz.
# Needs: PARTS (folder of another artifact each, as name=folder).
set -eu
tree=$OUT/tree
mkdir -p "$tree/bin" "$tree/lib/rtvirt-workloads"
for part in $PARTS; do
  for path in "${part#*=}"/bin/* "${part#*=}"/lib/rtvirt-workloads/*; do
    [ -f "$path" ] || continue
    name=${path#"${part#*=}/"}
    [ ! -e "$tree/$name" ] || { echo "!! two workloads bring $name; rename one"; exit 1; }
    cp "$path" "$tree/$name"
  done
done
(cd "$tree" && find bin lib -type f | LC_ALL=C sort | xargs sha256sum) >"$OUT/sums"
mv "$OUT/sums" "$tree/lib/rtvirt-workloads/sums"
tar -C "$tree" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf - bin lib | gzip -6n >"$OUT/workloads.tar.gz"
