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
  # The suite may move on between the two; the series has to be of the very version of the source.
  version=$(zcat "$tree/root/usr/share/doc/$PACKAGE/changelog.Debian.gz" | sed -n '1s/.*(\(.*\)).*/\1/p')
  debian_series "$SUITE" "$SERIES_PACKAGE" "$SERIES_PATH" "$OUT/patches" "$version"
fi
