#!/bin/sh
# Unpack a packaged Debian kernel into $OUT: vmlinuz, config, System.map, release, dtbs/, lib/modules/<release>, and the archive of them.
# Needs: NAME, SUITE, ARCHITECTURE, PACKAGE, IMAGE, DEVICE_TREES (paths below the package's folder of device trees), and for an archive other
# than Debian's ARCHIVE, FINGERPRINT (of the key that signs it) and KEYRING (a file that holds that key).
set -eu
tree=$(mktemp -d)
trap 'rm -rf -- "$tree"' EXIT

# A suite that is not whole by itself is read beside the Debian suite that it is for, which has what the kernel's packages depend on.
base=${SUITE%-backports}
signer=/usr/share/keyrings/debian-archive-keyring.gpg
set --
if [ -n "$ARCHIVE" ]; then
  signer=$tree/archive.gpg
  gpg --batch --quiet --no-default-keyring --keyring "$KEYRING" --export "$FINGERPRINT" >"$signer" 2>/dev/null || :
  [ -s "$signer" ] || { echo "!! $KEYRING does not hold the key $FINGERPRINT, which signs $ARCHIVE."; exit 1; }
fi
if [ -n "$ARCHIVE" ] || [ "$base" != "$SUITE" ]; then
  # mmdebstrap has written down which mirror it takes; its shell expands the hook.
  export SIGNER="$signer"
  # shellcheck disable=SC2016
  set -- --aptopt="APT::Default-Release \"$SUITE\"" --setup-hook='
    echo "deb [signed-by=$SIGNER] ${ARCHIVE:-$(debian_mirror "$1/etc/apt")} $SUITE main" >"$1/etc/apt/sources.list.d/more.list"'
fi

echo ":: fetching $PACKAGE ($ARCHITECTURE, $SUITE)"
debian_tree extract "$base" "$ARCHITECTURE" "$tree/root" "$PACKAGE" "$@"
cd "$tree/root"
modules=usr/lib/modules
[ -d "$modules" ] || modules=lib/modules  # in packages of suites before trixie
release=$(ls "$modules")
[ "$(printf '%s\n' "$release" | wc -l)" -eq 1 ] || { echo "!! $PACKAGE brought more than one kernel: $release"; exit 1; }

echo ":: packing $release"
mkdir -p "$OUT/lib/modules"
trees=usr/lib/linux-image-$release
for file in vmlinuz config System.map; do
  # From 7.x on Debian's packages have these below the modules' folder, and the device trees too.
  if [ -e "$modules/$release/$file" ]; then mv "$modules/$release/$file" "$OUT/$file"; else mv "boot/$file-$release" "$OUT/$file"; fi
done
if [ -d "$modules/$release/dtb" ]; then
  mv "$modules/$release/dtb" "$tree/dtb"
  trees=$tree/dtb
fi
for each in $DEVICE_TREES; do
  [ -s "$trees/$each" ] || { echo "!! $PACKAGE of $SUITE holds no device tree $each; correct the catalogue."; exit 1; }
  mkdir -p "$OUT/dtbs/$(dirname "$each")"
  cp "$trees/$each" "$OUT/dtbs/$each"
done
mv "$modules/$release" "$OUT/lib/modules/"
printf '%s\n' "$release" >"$OUT/release"
pack_kernel "$OUT" "$NAME" "$ARCHITECTURE" "$IMAGE"
