#!/bin/sh
# Take a program out of a Debian package, with its own libraries and loader, so that it runs on any machine of the architecture with nothing
# installed: $OUT/bin/rtvirt-<program>, and what it unpacks when it is first used.
# Needs: PACKAGE, PROGRAM, SUITE, ARCHITECTURE.
set -eu
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

echo ":: fetching $PACKAGE ($ARCHITECTURE, $SUITE)"
debian_tree extract "$SUITE" "$ARCHITECTURE" "$work/tree" "$PACKAGE"
found=$(find "$work/tree/usr" -name "$PROGRAM" -type f -perm -100 | head -n 1)
[ -n "$found" ] || { echo "!! the package $PACKAGE of $SUITE has no program $PROGRAM; name it with package: {name: $PACKAGE, program: ...}"; exit 1; }
mkdir -p "$OUT/bin" "$OUT/lib/rtvirt-workloads" "$work/$PROGRAM/lib"
cp "$found" "$work/$PROGRAM/program"
copy_libraries "$work/tree" "$work/$PROGRAM/lib" "$found"
loader=$(readelf --program-headers "$found" | sed -n 's/.*interpreter: \(.*\)\]/\1/p')
cp -L "$(find "$work/tree/usr/lib" "$work/tree/usr/lib64" -name "${loader##*/}" 2>/dev/null | head -n 1)" "$work/$PROGRAM/loader"
chmod 755 "$work/$PROGRAM/loader" "$work/$PROGRAM/program"
find "$work/$PROGRAM" -exec touch -h -d @0 {} +
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner -cf - "$PROGRAM" | gzip -9n >"$OUT/lib/rtvirt-workloads/$PROGRAM.tar.gz"
sed "s|@PROGRAM@|$PROGRAM|" "$(dirname "$0")/packaged_program.sh" >"$OUT/bin/rtvirt-$PROGRAM"
chmod 755 "$OUT/bin/rtvirt-$PROGRAM"
