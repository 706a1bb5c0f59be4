#!/bin/sh
# Make one board's card: a copy-on-write layer over the base image whose boot partition names the board.
# Needs: IMAGE (folder of the base image), CARD (file to make), IDENTITY (folder: host key, authorized_keys), QEMU (folder), BOOT_MIB,
# BOOT_SCRIPT (boot.scr), ENTRIES (kernel_boot.sh), and of the default entry: KERNEL, FOLDER, INITRD, OTHERS (words of the board's
# own) and WORDS (ours).
set -eu
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
BOOT=$work/boot
: "${KERNEL:?}" "${FOLDER:?}" "${OTHERS:?}" "${WORDS?}"
# shellcheck source=roles/kernel_boot/files/kernel_boot.sh
. "$ENTRIES"

mkdir -p "$BOOT/identity" "$BOOT/rtvirt"
cp -R "$IMAGE/boot/." "$BOOT/"
cp "$BOOT_SCRIPT" "$BOOT/boot.scr"
cp "$IDENTITY/ssh_host_ed25519_key" "$IDENTITY/authorized_keys" "$BOOT/identity/"
added=$(added_words "$OTHERS" "$WORDS rtvirt.kernel=$KERNEL")
COMMAND=booti FDT='' entry_text "$added" "$(join_words "$OTHERS" "$added")" >"$BOOT/rtvirt/default.env"

truncate --size "${BOOT_MIB}M" "$work/boot.img"
mkfs.vfat -F 32 -n BOOT "$work/boot.img" >/dev/null
(cd "$BOOT" && mcopy -s -i "$work/boot.img" -- * ::)
rm -f "$CARD.partial"
"$QEMU/bin/qemu-img" create -q -f qcow2 -b "$IMAGE/card.img" -F raw "$CARD.partial"
"$QEMU/bin/qemu-io" -f qcow2 -c "write -q -s $work/boot.img 1M ${BOOT_MIB}M" "$CARD.partial"
mv "$CARD.partial" "$CARD"
