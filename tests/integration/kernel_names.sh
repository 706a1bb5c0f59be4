#!/bin/sh
# Names that real kernels have, into $OUT: options (of 32-bit ARM), defconfigs, device_trees. Needs: SUITE, PACKAGE (linux-source-*).
set -eu
tree=$(mktemp -d)
trap 'rm -rf -- "$tree"' EXIT

echo ":: fetching $PACKAGE ($SUITE) for its names"
debian_tree extract "$SUITE" "$(dpkg --print-architecture)" "$tree/root" "$PACKAGE"
mkdir "$tree/linux"
tar --extract --file "$tree"/root/usr/src/linux-source-*.tar.xz --directory "$tree/linux" --strip-components=1 \
  --wildcards '*/Kconfig*' '*/arch/arm/configs/*' '*/arch/arm/boot/dts/*.dts'
cd "$tree/linux"
find . -path './arch/*/*' ! -path './arch/arm/*' -prune -o -name 'Kconfig*' -type f -exec \
  sed -nE 's/^[[:space:]]*(menu)?config[[:space:]]+([A-Za-z0-9_]+)[[:space:]]*$/\2/p' {} + | sort -u >"$OUT/options"
find arch/arm/configs -type f -printf '%f\n' >"$OUT/defconfigs"
find arch/arm/boot/dts -name '*.dts' -printf '%f\n' >"$OUT/device_trees"
