#!/bin/sh
# Make the minimal guest's initramfs in $OUT: busybox, dropbear, cyclictest, chrt and the workloads, from packages that are only unpacked.
# Needs: KERNEL (folder of kernel_build), WORKLOADS (folder of the role workloads), MODULES, SUITE, ARCHITECTURE.
set -eu
FILES=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
tree=$work/tree root=$work/root

echo ":: fetching busybox, dropbear and cyclictest ($ARCHITECTURE, $SUITE)"
debian_tree extract "$SUITE" "$ARCHITECTURE" "$tree" busybox-static,dropbear-bin,rt-tests,util-linux

mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/etc" "$root/root" "$root/run" "$root/identity"
ln -s usr/lib "$root/lib"
ln -s usr/lib "$root/lib64"  # where programs of a PC look for the loader
ln -s usr/sbin "$root/sbin"
cp "$tree/usr/bin/cyclictest" "$tree/usr/bin/chrt" "$root/usr/bin/"  # busybox has no chrt
cp "$tree/usr/sbin/dropbear" "$root/usr/sbin/"
cp -a "$WORKLOADS/tree" "$root/usr/local"

copy_libraries "$tree" "$root/usr/lib" "$root/usr/bin/cyclictest" "$root/usr/bin/chrt" "$root/usr/sbin/dropbear"
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
printf 'root:*:19000:0:99999:7:::\n' >"$root/etc/shadow"
printf 'root:x:0:\n' >"$root/etc/group"
printf '/bin/sh\n' >"$root/etc/shells"

echo ":: packing the initramfs"
# shellcheck disable=SC2086  # a list of words
make_initramfs "$OUT/initrd.img" "$KERNEL" "$tree/usr/bin/busybox" "$FILES/guest_init.sh" "$root" $MODULES
cp "$KERNEL/release" "$OUT/release"
echo "$ARCHITECTURE" >"$OUT/architecture"
cp "$KERNEL/vmlinuz" "$OUT/vmlinuz"
