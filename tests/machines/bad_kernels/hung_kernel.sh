#!/bin/sh
# Make, in $OUT, a kernel folder like kernel_build's whose kernel is two instructions: mask all interrupts, then branch to itself.
set -eu
# The header of an arm64 Image: code, load offset, size (64 KiB), flags, three reserved words, magic number.
{
  printf '\337\117\003\325\000\000\000\024'  # msr daifset, #15; b .
  head -c 8 /dev/zero
  printf '\000\000\001\000\000\000\000\000\012\000\000\000\000\000\000\000'
  head -c 24 /dev/zero
  printf 'ARMd\000\000\000\000'
  head -c 65472 /dev/zero
} >"$OUT/vmlinuz"
echo 0.0.0-hung >"$OUT/release"
echo '# It has none.' >"$OUT/config"
: >"$OUT/System.map"
mkdir -p "$OUT/lib/modules/0.0.0-hung"
pack_kernel "$OUT" bad-hang arm64 Image
