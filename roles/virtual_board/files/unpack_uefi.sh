#!/bin/sh
# Unpack UEFI firmware for machines of QEMU's PROGRAM into $OUT: code.fd, and vars.fd, its settings as they come from the factory. SUITE.
set -eu
echo ":: fetching UEFI firmware of Debian $SUITE"
case $PROGRAM in
qemu-system-x86_64) package=ovmf code=OVMF/OVMF_CODE_4M.fd vars=OVMF/OVMF_VARS_4M.fd ;;
qemu-system-aarch64) package=qemu-efi-aarch64 code=AAVMF/AAVMF_CODE.no-secboot.fd vars=AAVMF/AAVMF_VARS.fd ;;
esac
debian_tree extract "$SUITE" "$(dpkg --print-architecture)" "$OUT/root" "$package"
cp --sparse=always "$OUT/root/usr/share/$code" "$OUT/code.fd"
cp --sparse=always "$OUT/root/usr/share/$vars" "$OUT/vars.fd"
rm -rf "$OUT/root"
