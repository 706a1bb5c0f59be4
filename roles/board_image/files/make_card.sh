#!/bin/sh
# Make one board's card: the image for its kind, and a boot partition that names the board.
# Needs: IMAGE (folder of the image), CARD (file to make), FORMAT (raw: a file of its own; qcow2: a layer over the image, CARD_MIB large or,
# when that is 0, as large as the image), QEMU (folder, for qcow2), NAME, IDENTITY (folder: host key, authorized_keys), LOADERS (folder of
# kernel_boot's scripts), BOOT_SCR (U-Boot's script in base64), LOADER (u_boot, rpi, grub), ARM_WATCHDOG, U_BOOT_ENV, and of the default entry: KERNEL,
# FOLDER, COMMAND, INITRD, FDT, OTHERS (parameters of the board's own) and KERNEL_PARAMS (ours).
set -eu
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
BOOT=$work/boot
mkdir -p "$BOOT/identity" "$BOOT/rtvirt"
cp -R "$IMAGE/boot/." "$BOOT/"
cp "$IDENTITY/ssh_host_ed25519_key" "$IDENTITY/authorized_keys" "$BOOT/identity/"

# What the loaders' scripts count on, as on a board.
RTVIRT_CHECK_MODE=no
changed() { :; }
fail() { echo "$*" >&2; exit 1; }
remove() { rm -rf "$@"; }
# shellcheck source=roles/kernel_boot/files/kernel_boot.sh
. "$LOADERS/kernel_boot.sh"
# shellcheck source=/dev/null disable=SC2153 # the one that the profile names
. "$LOADERS/loader_$LOADER.sh"
# A number of its own for each board, so that a loader never takes one card's partition for another's.
volume=$(printf '%s' "$NAME" | sha256sum | cut -c 1-8 | tr a-f A-F)
grub_device() { echo "${volume%????}-${volume#????}"; }
grub_folder() { echo /kernels; }

: "${KERNEL:?}" "${FOLDER:?}" "${OTHERS:?}" "${KERNEL_PARAMS?}" "${COMMAND?}" "${FDT?}" "${INITRD?}"
added=$(added_params "$OTHERS" "$KERNEL_PARAMS rtvirt.kernel=$KERNEL")
entry_text "$added" "$(join_params "$OTHERS" "$added")" >"$state/default.env"
case $LOADER in
u_boot) u_boot_set_up ;;
grub)
  grub_put_hook
  { echo '# GRUB Environment Block'; head -c 999 /dev/zero | tr '\0' '#'; } >"$BOOT/grub/grubenv"  # 1024 bytes, as GRUB wants it
  ;;
esac
"${LOADER}_entries_changed"

first_mib=$(cat "$IMAGE/first_mib")
boot_mib=$(cat "$IMAGE/boot_mib")
truncate --size "${boot_mib}M" "$work/boot.img"
mkfs.vfat --invariant -i "$volume" -F 32 -n BOOT "$work/boot.img" >/dev/null
find "$BOOT" -exec touch -d '1980-01-01 00:00:00 UTC' {} +
(cd "$BOOT" && TZ=UTC mcopy -s -m -i "$work/boot.img" -- * ::)
rm -f "$CARD.partial"
if [ "$FORMAT" = qcow2 ]; then
  # shellcheck disable=SC2046 # a word or none
  "$QEMU/bin/qemu-img" create -q -f qcow2 -b "$IMAGE/card.img" -F raw "$CARD.partial" $([ "$CARD_MIB" -eq 0 ] || echo "${CARD_MIB}M")
  "$QEMU/bin/qemu-io" -f qcow2 -c "write -q -s $work/boot.img ${first_mib}M ${boot_mib}M" "$CARD.partial"
else
  cp --sparse=always "$IMAGE/card.img" "$CARD.partial"
  dd if="$work/boot.img" of="$CARD.partial" bs=1M seek="$first_mib" conv=notrunc,sparse status=none
fi
mv "$CARD.partial" "$CARD"
