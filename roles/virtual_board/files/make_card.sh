#!/bin/sh
# Make one board's card: a copy-on-write layer over the base image whose boot partition names the board.
# Needs: IMAGE (folder of the base image), CARD (file to make), IDENTITY (folder: host key, authorized_keys), QEMU (folder),
# BOOT_MIB, KERNEL (default entry), KERNELS (all entries), WORDS (kernel command line).
set -eu
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
boot=$work/boot
: "${KERNEL:?}" "${KERNELS:?}" "${WORDS:?}"

mkdir -p "$boot/extlinux" "$boot/identity"
for kernel in $KERNELS; do
  cp -a "$IMAGE/boot/$kernel" "$boot/"
done
install -m 600 "$IDENTITY/ssh_host_ed25519_key" "$IDENTITY/authorized_keys" "$boot/identity/"
{
  printf '# The boot entries of this board; rtvirt keeps them.\ndefault %s\nprompt 0\ntimeout 0\n' "$KERNEL"
  for kernel in $KERNELS; do
    printf '\nlabel %s\n  linux /%s/vmlinuz\n  initrd /%s/initrd.img\n  append %s\n' "$kernel" "$kernel" "$kernel" "$WORDS"
  done
} >"$boot/extlinux/extlinux.conf"

# U-Boot reads ext4 but not all of its newer features.
mke2fs -q -t ext4 -L boot -O '^metadata_csum,^64bit,^orphan_file' -E root_owner=0:0 -d "$boot" "$work/boot.img" "${BOOT_MIB}M"
# mke2fs keeps the owner of each file; sshd on the board trusts root's alone.
for path in /identity /identity/ssh_host_ed25519_key /identity/authorized_keys; do
  printf 'set_inode_field %s uid 0\nset_inode_field %s gid 0\n' "$path" "$path"
done | debugfs -w -f - "$work/boot.img" >/dev/null 2>&1
rm -f "$CARD.partial"
"$QEMU/bin/qemu-img" create -q -f qcow2 -b "$IMAGE/card.img" -F raw "$CARD.partial"
"$QEMU/bin/qemu-io" -f qcow2 -c "write -q -s $work/boot.img 1M ${BOOT_MIB}M" "$CARD.partial"
mv "$CARD.partial" "$CARD"
