#!/bin/sh
# Unpack UEFI firmware for QEMU's PCs into $OUT: OVMF_CODE_4M.fd, and OVMF_VARS_4M.fd, its settings as it comes from the factory. SUITE.
set -eu
debian_tree extract "$SUITE" "$(dpkg --print-architecture)" "$OUT/root" ovmf
mv "$OUT/root/usr/share/OVMF/OVMF_CODE_4M.fd" "$OUT/root/usr/share/OVMF/OVMF_VARS_4M.fd" "$OUT"
rm -rf "$OUT/root"
