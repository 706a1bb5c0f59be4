#!/bin/sh
# Unpack a packaged Debian kernel into $OUT: vmlinuz, config, System.map, release, kernel.json, lib/modules/<release>, and all of
# that as one archive, kernel.tar.gz. Needs: NAME, SUITE, ARCHITECTURE, PACKAGE, IMAGE (its format), REALTIME (true or false).
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

echo ":: packing kernel $NAME"
cd "$OUT"
bytes() { du --apparent-size --summarize --bytes --total "$@" | tail -n 1 | cut -f 1; }
printf '{"name": "%s", "release": "%s", "architecture": "%s", "image": "%s", "realtime": %s, "boot_bytes": %d, "modules_bytes": %d}\n' \
  "$NAME" "$release" "$ARCHITECTURE" "$IMAGE" "$REALTIME" "$(bytes vmlinuz config System.map)" "$(bytes lib)" >kernel.json
tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=go-w --file - \
  vmlinuz config System.map release kernel.json lib | gzip -n >kernel.tar.gz
