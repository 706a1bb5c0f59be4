#!/bin/sh
# Collect in $OUT what starts a kind of board, from Debian packages: raw/<KiB>, which stand on the card before its first partition, and
# boot/, files of the boot partition. NAME, SUITE, ARCHITECTURE, PACKAGES, COMPONENT, BLOBS (<KiB>=file ...), FILES, TARGETS (of GRUB), TEXT and TEXT_NAME (a
# file of the boot partition), ENVIRONMENT (of U-Boot, a line per variable).
set -eu
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
mkdir -p "$OUT/raw" "$OUT/boot"

if [ -n "$PACKAGES" ]; then
  echo ":: fetching $PACKAGES"
  debian_tree extract "$SUITE" "$ARCHITECTURE" "$work/tree" "$(printf %s "$PACKAGES" | tr ' ' ,)" --components="main,$COMPONENT"
fi
# usage: take FILE_OF_A_PACKAGE TO
take() {
  [ -s "$work/tree/$1" ] || { echo "!! $PACKAGES of $SUITE holds no $1; correct the profile." >&2; exit 1; }
  cp "$work/tree/$1" "$2"
}
for blob in $BLOBS; do take "${blob#*=}" "$OUT/raw/${blob%%=*}"; done
for file in $FILES; do take "$file" "$OUT/boot/${file##*/}"; done
if [ -n "$TEXT_NAME" ]; then
  mkdir -p "$(dirname "$OUT/boot/$TEXT_NAME")"
  printf '%s' "$TEXT" >"$OUT/boot/$TEXT_NAME"
fi
if [ -n "$ENVIRONMENT" ]; then
  # Of the size that Debian's U-Boot is built for; one that does not fit is left aside for its own defaults.
  printf '%s' "$ENVIRONMENT" | mkenvimage -s 65536 -o "$OUT/boot/uboot.env" -
fi
# shellcheck source=roles/board_image/files/grub.sh disable=SC1091 # known when it runs
[ "$NAME" != grub ] || . "$(dirname "$0")/grub.sh"
