#!/bin/sh
# Unpack a packaged Debian kernel into $OUT: vmlinuz, config, System.map, release, lib/modules/<release>, and the archive of them.
# Needs: NAME, SUITE, ARCHITECTURE, PACKAGE, IMAGE.
set -eu
tree=$(mktemp -d)
trap 'rm -rf -- "$tree"' EXIT

echo ":: fetching $PACKAGE ($ARCHITECTURE, $SUITE)"
debian_tree extract "$SUITE" "$ARCHITECTURE" "$tree/root" "$PACKAGE"
cd "$tree/root"
modules=usr/lib/modules
[ -d "$modules" ] || modules=lib/modules  # in packages of suites before trixie
release=$(ls "$modules")
[ "$(printf '%s\n' "$release" | wc -l)" -eq 1 ] || { echo "!! $PACKAGE brought more than one kernel: $release"; exit 1; }

echo ":: packing $release"
mkdir -p "$OUT/lib/modules"
mv "$modules/$release" "$OUT/lib/modules/"
mv "boot/vmlinuz-$release" "$OUT/vmlinuz"
mv "boot/config-$release" "$OUT/config"
mv "boot/System.map-$release" "$OUT/System.map"
printf '%s\n' "$release" >"$OUT/release"
pack_kernel "$OUT" "$NAME" "$ARCHITECTURE" "$IMAGE"
