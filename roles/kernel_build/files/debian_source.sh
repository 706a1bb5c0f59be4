#!/bin/sh
# Fetch a Debian kernel source package into $OUT: linux.tar.xz, and patches/ with its quilt series when one is asked for.
# Needs: SUITE, PACKAGE, SERIES_PACKAGE and SERIES_PATH (both empty for no series).
set -eu
tree=$(mktemp -d)
trap 'rm -rf -- "$tree"' EXIT

echo ":: fetching $PACKAGE ($SUITE)"
debian_tree extract "$SUITE" "$(dpkg --print-architecture)" "$tree/root" "$PACKAGE"
set -- "$tree"/root/usr/src/linux-source-*.tar.xz
[ -f "$1" ] || { echo "!! the package $PACKAGE of $SUITE holds no linux-source-*.tar.xz; is it a linux-source-* package?"; exit 1; }
mv "$1" "$OUT/linux.tar.xz"
if [ -n "$SERIES_PACKAGE" ]; then
  echo ":: fetching the patches $SERIES_PATH of $SERIES_PACKAGE"
  debian_series "$SUITE" "$SERIES_PACKAGE" "$SERIES_PATH" "$OUT/patches"
fi
