#!/bin/sh
# Put a board's base image together in $OUT, as root: card.img (GPT: boot partition left empty, root partition filled) and
# boot/ (kernels and initramfs for the boot partition of each card made from it).
# Nothing in the base belongs to one board: names, keys and the boot entry go into the card's boot partition.
# Needs: ROOTFS (folder with rootfs.tar), KERNELS (name=folder ...), MODULES, PROFILE, BOOT_MIB, ROOT_MIB.
set -eu
FILES=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
root=$work/root

echo ":: unpacking the root file system"
mkdir -p "$root" "$OUT/boot"
tar --extract --numeric-owner --file "$ROOTFS/rootfs.tar" --directory "$root"
cp -a --no-preserve=ownership "$FILES/${PROFILE}_overlay/." "$root/"

for entry in $KERNELS; do
  name=${entry%%=*} kernel=${entry#*=}
  release=$(cat "$kernel/release")
  echo ":: adding kernel $name ($release)"
  mkdir -p "$root/usr/lib/modules"
  cp -a --no-preserve=ownership "$kernel/lib/modules/$release" "$root/usr/lib/modules/"
  mkdir -p "$OUT/boot/$name"
  cp "$kernel/vmlinuz" "$OUT/boot/$name/vmlinuz"
  # shellcheck disable=SC2086  # a list of words
  make_initramfs "$OUT/boot/$name/initrd.img" "$kernel" "$root/usr/bin/busybox" "$FILES/initramfs_init.sh" "" $MODULES
done

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
printf 'PARTLABEL=boot /boot ext4 defaults,noatime 0 0\n' >"$root/etc/fstab"
# Locked for passwords but not as an account: sshd without PAM turns a locked account ("!") away.
sed -i 's/^root:[^:]*:/root:*:/' "$root/etc/shadow"
touch "$root/etc/.updated" "$root/var/.updated"  # nothing to update at the first boot

echo ":: making the card image"
card=$OUT/card.img
truncate --size "$((1 + BOOT_MIB + ROOT_MIB + 1))M" "$card"
sfdisk --quiet "$card" <<TABLE
label: gpt
start=1MiB, size=${BOOT_MIB}MiB, type=linux, name=boot, attrs=LegacyBIOSBootable
size=${ROOT_MIB}MiB, type=linux, name=root
TABLE
mke2fs -q -t ext4 -L root -E "offset=$(((1 + BOOT_MIB) * 1048576)),lazy_itable_init=1,lazy_journal_init=1" \
  -d "$root" "$card" "${ROOT_MIB}M"
tar --create --file - --directory "$root" --exclude './usr/lib/modules' . | sha256sum | cut -d ' ' -f 1 >"$OUT/rootfs.sha256"
cp "$root/var/lib/dpkg/status" "$OUT/dpkg-status"
