#!/bin/sh
# Unpack UEFI firmware for QEMU's machines into $OUT: <architecture>/code.fd, and vars.fd, its settings as they come from the factory. SUITE.
set -eu
echo ":: fetching UEFI firmware of Debian $SUITE"
debian_tree extract "$SUITE" "$(dpkg --print-architecture)" "$OUT/root" ovmf,qemu-efi-aarch64
# usage: take ARCHITECTURE CODE VARIABLES
take() {
  mkdir "$OUT/$1"
  cp --sparse=always "$OUT/root/usr/share/$2" "$OUT/$1/code.fd"
  cp --sparse=always "$OUT/root/usr/share/$3" "$OUT/$1/vars.fd"
}
take amd64 OVMF/OVMF_CODE_4M.fd OVMF/OVMF_VARS_4M.fd
take arm64 AAVMF/AAVMF_CODE.no-secboot.fd AAVMF/AAVMF_VARS.fd
rm -rf "$OUT/root"
