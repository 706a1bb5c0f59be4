#!/bin/sh
# Make what every sealed machine has in $OUT/base.img, an initramfs: dash, busybox, cyclictest, rtla, inotifywait, the workloads, and QEMU for the guest, with
# their libraries, from packages that are only unpacked. No kernel modules: what a sealed machine needs of its kernel is built in.
# Needs: WORKLOADS (folder of the role workloads), SUITE, ARCHITECTURE.
set -eu
FILES=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
tree=$work/tree root=$work/root

echo ":: fetching QEMU, busybox, cyclictest and rtla ($ARCHITECTURE, $SUITE)"
debian_tree extract "$SUITE" "$ARCHITECTURE" "$tree" busybox-static,dash,rt-tests,rtla,coreutils,util-linux,inotify-tools,qemu-system-arm

for folder in bin sbin dev proc sys tmp run var/lib var/tmp usr/bin usr/sbin usr/lib; do mkdir -p "$root/$folder"; done
ln -s usr/lib "$root/lib"
cp "$tree/usr/bin/busybox" "$root/bin/"
ln -s ../usr/bin/dash "$root/bin/sh"
# Also those that run others: busybox's would take its own programs for them, whatever PATH says.
cp "$FILES/init.sh" "$root/init"
chmod 755 "$root/init"
programs='dash cyclictest rtla chrt taskset setsid env timeout inotifywait qemu-system-aarch64'
for program in $programs; do cp "$tree/usr/bin/$program" "$root/usr/bin/"; done
cp -a "$WORKLOADS/tree" "$root/usr/local"
# shellcheck disable=SC2086  # a list of words
(cd "$root/usr/bin" && copy_libraries "$tree" "$root/usr/lib" $programs)
cp -L "$(find "$tree/usr/lib" -name libgcc_s.so.1 | head -n 1)" "$root/usr/lib/"  # no program names it: the C library loads it where a thread ends
loader=$(readelf --program-headers "$root/usr/bin/chrt" | sed -n 's/.*interpreter: \(.*\)\]/\1/p')
[ -e "$root/usr/lib/${loader##*/}" ] || cp -L "$(find "$tree/usr/lib" -name "${loader##*/}" | head -n 1)" "$root/usr/lib/"

echo ":: packing the initramfs"
find "$root" -exec touch -h -d @0 {} +
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet --create --format=newc --owner=0:0 --reproducible) >"$OUT/base.img"
echo "$ARCHITECTURE" >"$OUT/architecture"
