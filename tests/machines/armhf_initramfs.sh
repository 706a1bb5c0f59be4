#!/bin/sh
# Make an initramfs for 32-bit ARM of busybox and an init in $OUT. Needs: KERNEL (folder of kernel_build), INIT, SUITE.
set -eu
tree=$(mktemp -d)
trap 'rm -rf -- "$tree"' EXIT
debian_tree extract "$SUITE" armhf "$tree/root" busybox-static
busybox=$(find "$tree/root/bin" "$tree/root/usr/bin" -name busybox | head -n 1)
make_initramfs "$OUT/initrd.img" "$KERNEL" "$busybox" "$INIT" ''
