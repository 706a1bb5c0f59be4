#!/bin/sh
# Unpack a packaged Debian kernel into $OUT: vmlinuz, config, System.map, release, lib/modules/<release>.
set -eu
tree=$(mktemp -d)
trap 'rm -rf -- "$tree"' EXIT

echo ":: fetching $PACKAGE ($ARCHITECTURE, $SUITE)"
debian_tree extract "$SUITE" "$ARCHITECTURE" "$tree/root" "$PACKAGE"
cd "$tree/root"
release=$(ls usr/lib/modules)
[ "$(printf '%s\n' "$release" | wc -l)" -eq 1 ] || { echo "$PACKAGE brought more than one kernel: $release" >&2; exit 1; }

echo ":: indexing the modules of $release"
mkdir -p "$OUT/lib/modules"
mv "usr/lib/modules/$release" "$OUT/lib/modules/"
depmod --basedir "$OUT" "$release"
mv "boot/vmlinuz-$release" "$OUT/vmlinuz"
mv "boot/config-$release" "$OUT/config"
mv "boot/System.map-$release" "$OUT/System.map"
printf '%s\n' "$release" >"$OUT/release"
