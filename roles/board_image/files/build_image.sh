#!/bin/sh
# Put a board's base image together in $OUT, as root: card.img (GPT: boot partition left empty, root partition filled, and the same once
# more for guests) and boot/ (what the boot partition of each card made from it holds of the kernel).
# Nothing in the base belongs to one board: names, keys and the boot entry go into the card's boot partition.
# Needs: ROOTFS (folder with rootfs.tar), KERNEL (folder with kernel.tar.gz, of kernel_boot), FOLDER (its name on a board), PROFILE,
# BOOT_MIB, ROOT_MIB, GUEST_MIB.
set -eu
FILES=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
root=$work/root

echo ":: unpacking the root file system"
mkdir -p "$root" "$OUT/boot"
tar --extract --numeric-owner --file "$ROOTFS/rootfs.tar" --directory "$root"
cp -a --no-preserve=ownership "$FILES/${PROFILE}_overlay/." "$root/"

echo ":: adding kernel $FOLDER"
mkdir -p "$work/kernel" "$root/usr/lib/modules" "$OUT/boot/kernels/$FOLDER"
tar -xzf "$KERNEL/kernel.tar.gz" -C "$work/kernel"
mv "$work/kernel"/lib/modules/* "$root/usr/lib/modules/"
rm -r "$work/kernel/lib"
cp -R "$work/kernel/." "$OUT/boot/kernels/$FOLDER/"

# Services that a board on a bench has no use for; each costs seconds of emulated boot.
for unit in $MASKED_UNITS; do
  ln -sfn /dev/null "$root/etc/systemd/system/$unit"
done
for unit in $ENABLED_UNITS; do
  mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
  ln -sfn "/usr/lib/systemd/system/$unit" "$root/etc/systemd/system/multi-user.target.wants/$unit"
done
rm -f "$root"/etc/ssh/ssh_host_*_key*  # a key in a shared base would be everybody's key
rm -f "$root/etc/hostname" "$root/etc/resolv.conf"
: >"$root/etc/machine-id"
# FAT, since U-Boot can write it safely. It knows no owners, and the board's secret keys are there: all of it is root's.
printf 'PARTLABEL=boot /boot vfat noatime,umask=0077 0 0\n' >"$root/etc/fstab"
# Locked for passwords but not as an account: sshd without PAM turns a locked account ("!") away.
sed -i 's/^root:[^:]*:/root:*:/' "$root/etc/shadow"
touch "$root/etc/.updated" "$root/var/.updated"  # nothing to update at the first boot

echo ":: making the card image"
card=$OUT/card.img
truncate --size "$((1 + BOOT_MIB + ROOT_MIB + GUEST_MIB + 1))M" "$card"
sfdisk --quiet "$card" <<TABLE
label: gpt
start=1MiB, size=${BOOT_MIB}MiB, type=linux, name=boot, attrs=LegacyBIOSBootable
size=${ROOT_MIB}MiB, type=linux, name=root
size=${GUEST_MIB}MiB, type=linux, name=guest
TABLE
# usage: fill LABEL START_MIB SIZE_MIB
fill() {
  mke2fs -q -t ext4 -L "$1" -E "offset=$(($2 * 1048576)),lazy_itable_init=1,lazy_journal_init=1" -d "$root" "$card" "${3}M"
}
fill root "$((1 + BOOT_MIB))" "$ROOT_MIB"
# A running root changes underneath a copy-on-write disk: guests of flavour debian start from a twin that nobody mounts.
fill guest "$((1 + BOOT_MIB + ROOT_MIB))" "$GUEST_MIB"
tar --create --file - --directory "$root" --exclude './usr/lib/modules' . | sha256sum | cut -d ' ' -f 1 >"$OUT/rootfs.sha256"
cp "$root/var/lib/dpkg/status" "$OUT/dpkg-status"
