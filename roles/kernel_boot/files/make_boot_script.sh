#!/bin/sh
# Put U-Boot's header on its script: $OUT/boot.scr.
set -eu
# Its date would make every build another one; U-Boot does not look at it.
SOURCE_DATE_EPOCH=0 mkimage -A arm64 -T script -C none -n rtvirt -d "$(dirname "$0")/boot.cmd" "$OUT/boot.scr"
base64 --wrap=0 "$OUT/boot.scr" >"$OUT/boot.scr.base64"
