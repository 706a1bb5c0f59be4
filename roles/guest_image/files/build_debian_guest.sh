#!/bin/sh
# Make the initramfs of a guest of flavour debian in $OUT: drivers, and what makes the board's Debian on the disk this guest.
# Needs: KERNEL (folder of kernel_build), WORKLOADS (folder of the role workloads), MODULES, MASKED_UNITS, SUITE, ARCHITECTURE.
set -eu
FILES=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
overlay=$work/root/overlay

echo ":: fetching busybox ($ARCHITECTURE, $SUITE)"
debian_tree extract "$SUITE" "$ARCHITECTURE" "$work/tree" busybox-static

mkdir -p "$work/root/identity" "$overlay/usr"
cp -a --no-preserve=ownership "$FILES/debian_overlay/." "$overlay/"
cp -a --no-preserve=ownership "$WORKLOADS/tree" "$overlay/usr/local"
units=$overlay/etc/systemd/system
for unit in $MASKED_UNITS; do
  ln -s /dev/null "$units/$unit"
done
mkdir -p "$units/multi-user.target.wants"
ln -s ../rtvirt-ready.service "$units/multi-user.target.wants/rtvirt-ready.service"

echo ":: packing the initramfs"
# shellcheck disable=SC2086  # a list of words
make_initramfs "$OUT/initrd.img" "$KERNEL" "$work/tree/usr/bin/busybox" "$FILES/debian_init.sh" "$work/root" $MODULES
cp "$KERNEL/release" "$OUT/release"
cp "$KERNEL/vmlinuz" "$OUT/vmlinuz"
printf '%s\n' "$ARCHITECTURE" >"$OUT/architecture"
