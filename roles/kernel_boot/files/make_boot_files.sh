#!/bin/sh
# Make what a board is sent of a kernel, in $OUT: kernel.tar.gz with its initramfs in it if it needs one, and facts.json.
# Needs: KERNEL (folder of kernel_build), MODULES (drivers of the disk and what is on it), SUITE and ARCHITECTURE (of busybox).
set -eu
FILES=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
name=$(sed -n 's/.*"name": "\([^"]*\)".*/\1/p' "$KERNEL/kernel.json")
release=$(cat "$KERNEL/release")

mkdir -p "$work/files"
tar -xzf "$KERNEL/kernel.tar.gz" -C "$work/files"
# Modules are known by all that came with them, so that a board never mixes two builds of the same release.
sha256sum "$KERNEL/kernel.tar.gz" | cut -c 1-8 >"$work/files/lib/modules/$release/.rtvirt"

needed=
for module in $MODULES; do
  modprobe --dirname "$KERNEL" --set-version "$release" --show-depends "$module" | grep -q '^insmod' && needed="$needed $module"
done
initrd=
if [ -n "$needed" ]; then
  echo ":: making the initramfs of $name, which loads$needed"
  debian_tree extract "$SUITE" "$ARCHITECTURE" "$work/tree" busybox-static
  initrd=initrd.img
  # shellcheck disable=SC2086  # a list of words
  make_initramfs "$work/files/$initrd" "$KERNEL" "$work/tree/usr/bin/busybox" "$FILES/initramfs_init.sh" "" $needed
fi

echo ":: packing the boot files of $name"
(cd "$work/files" && tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=go-w --file - -- *) |
  gzip -n >"$OUT/kernel.tar.gz"
case $(sed -n 's/.*"image": "\([^"]*\)".*/\1/p' "$KERNEL/kernel.json") in
Image) command=booti ;;
zImage) command=bootz ;;
*) command= ;;
esac
initrd_bytes=$([ -z "$initrd" ] || stat -c %s "$work/files/$initrd")
{
  sed '$d' "$KERNEL/kernel.json"  # without its closing brace
  printf '  , "folder": "%s", "modules_key": "%s"\n' \
    "$name-$(sha256sum "$OUT/kernel.tar.gz" | cut -c 1-8)" "$(cat "$work/files/lib/modules/$release/.rtvirt")"
  printf '  , "command": "%s"\n' "$command"
  printf '  , "initrd": "%s", "initrd_bytes": %d\n}\n' "$initrd" "${initrd_bytes:-0}"
} >"$OUT/facts.json"
