#!/bin/sh
# Put the image for a kind of board together in $OUT, as root: card.img (boot loader, an empty boot partition, the root, and where wanted the
# same once more for guests) and boot/ (what the boot partition of each card made from it holds).
# Nothing in it belongs to one board, and the same inputs give the same bytes on one machine (of a folder mke2fs takes files in the order in
# which that machine's file system lists them).
# Needs: ROOTFS (folder with rootfs.tar), KERNEL (folder with kernel.tar.gz, of kernel_boot), LOADER (folder of build_loader.sh), FOLDER (the
# kernel's name on a board), TABLE, FIRST_MIB (where the first partition begins), BOOT_MIB, ROOT_MIB (0: as large as it must be; it grows on the
# board), GUEST_MIB, SLOTS, DEVICE_TREES (<name>=<file of the kernel> ..., for a firmware that looks for that name), OVERLAYS, MASKED_UNITS,
# ENABLED_UNITS.
set -eu
FILES=$(dirname "$0")
: "${FIRST_MIB:?}" "${BOOT_MIB:?}" "${ROOT_MIB:?}" "${GUEST_MIB:?}"
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
root=$work/root
# What makers of file systems would draw by chance. usage: uuid_of NAME
uuid_of() { printf 'rtvirt %s' "$1" | md5sum | sed -E 's/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/\1-\2-\3-\4-\5/'; }

echo ":: unpacking the root file system"
mkdir -p "$root" "$OUT/boot"
tar --extract --numeric-owner --file "$ROOTFS/rootfs.tar" --directory "$root"
for overlay in $OVERLAYS; do
  cp -a --no-preserve=ownership,timestamps "$FILES/$overlay/." "$root/"
done

echo ":: adding kernel $FOLDER"
mkdir -p "$work/kernel" "$root/usr/lib/modules" "$OUT/boot/kernels/$FOLDER"
tar -xzf "$KERNEL/kernel.tar.gz" -C "$work/kernel"
mv "$work/kernel"/lib/modules/* "$root/usr/lib/modules/"
rm -r "$work/kernel/lib"
cp -R "$work/kernel/." "$OUT/boot/kernels/$FOLDER/"
cp -R "$LOADER/boot/." "$OUT/boot/"
for each in $DEVICE_TREES; do
  [ -s "$work/kernel/dtbs/${each#*=}" ] || { echo "!! kernel $FOLDER has no device tree ${each#*=}; correct the profile." >&2; exit 1; }
  cp "$work/kernel/dtbs/${each#*=}" "$OUT/boot/${each%%=*}"
done

# Links are made here and not kept in an overlay: neither a wheel nor an archive of the collection can hold them.
units=$root/etc/systemd/system
mkdir -p "$units/sysinit.target.wants" "$root/etc/systemd/system-generators"
ln -sfn ../rtvirt-first-boot.service "$units/sysinit.target.wants/rtvirt-first-boot.service"
ln -sfn /dev/null "$root/etc/systemd/system-generators/systemd-ssh-generator"  # masked
for unit in $MASKED_UNITS; do ln -sfn /dev/null "$units/$unit"; done
mkdir -p "$units/multi-user.target.wants"
for unit in $ENABLED_UNITS; do ln -sfn "/usr/lib/systemd/system/$unit" "$units/multi-user.target.wants/$unit"; done
: >"$root/etc/machine-id"  # empty: the first boot makes one
# FAT, since every boot loader can read it and U-Boot write it safely. It knows no owners, and the board's secret keys are there: all of it
# is root's.
printf 'LABEL=BOOT /boot vfat noatime,umask=0077 0 0\n' >"$root/etc/fstab"
# Locked for passwords but not as an account: sshd without PAM turns a locked account ("!") away.
sed -i 's/^root:[^:]*:/root:*:/' "$root/etc/shadow"
[ "$ROOT_MIB" -ne 0 ] || echo "$SLOTS" >"$root/etc/rtvirt-first-boot"
touch "$root/etc/.updated" "$root/var/.updated"  # nothing to update at the first boot
find "$root" -newer "$root/usr/lib/os-release" -exec touch --no-dereference --reference="$root/usr/lib/os-release" {} +

[ "$ROOT_MIB" -ne 0 ] || ROOT_MIB=$(du --summarize --apparent-size --block-size=1M "$root" | awk '{ print int($1 * 1.2) + 64 }')
echo ":: making the card image: boot $BOOT_MIB MiB, root $ROOT_MIB MiB"
card=$OUT/card.img
truncate --size "$((FIRST_MIB + BOOT_MIB + ROOT_MIB + GUEST_MIB + 1))M" "$card"
case $TABLE in
gpt)
  label="label-id: $(uuid_of card)" boot_type='type=linux, attrs=LegacyBIOSBootable'
  [ ! -e "$LOADER/boot/EFI" ] || boot_type='type=uefi'
  named() { printf ', name=%s, uuid=%s' "$1" "$(uuid_of "$1 partition")"; }
  ;;
dos)
  label='label-id: 0x72745669' boot_type='type=c, bootable'
  [ ! -e "$LOADER/boot/EFI" ] || boot_type='type=ef, bootable'  # what UEFI looks for; GRUB does not mind
  named() { :; }
  ;;
esac
{
  printf '%s\n' "label: $TABLE" "$label"
  echo "start=${FIRST_MIB}MiB, size=${BOOT_MIB}MiB, $boot_type$(named boot)"
  echo "size=${ROOT_MIB}MiB, type=linux$(named root)"
  [ "$GUEST_MIB" -eq 0 ] || echo "size=${GUEST_MIB}MiB, type=linux$(named guest)"
} | sfdisk --quiet "$card"
# Not those of the controller's mke2fs.conf: Debian 13's has features of 2015 and 2021 (metadata_csum_seed, orphan_file), and the oldest kernel of
# the catalogue, 3.18, must mount the root. These are of Linux 3.6 and older.
ext4_features=none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum
# usage: fill LABEL START_MIB SIZE_MIB
fill() {
  # With the blocks and inodes of a usual file system, not of a small one: it will be as large as the card.
  E2FSPROGS_FAKE_TIME=1 mke2fs -q -t ext4 -T default -O "$ext4_features" -L "$1" -U "$(uuid_of "$1")" -d "$root" \
    -E "offset=$(($2 * 1048576)),hash_seed=$(uuid_of "$1"),lazy_itable_init=1" "$card" "${3}M"
  # When a file came to this machine and was last read here is in it too, and cannot be set where it came from.
  find "$root" -printf 'set_inode_field "/%P" ctime @1\nset_inode_field "/%P" atime @1\n' |
    E2FSPROGS_FAKE_TIME=1 debugfs -w -f - "$card?offset=$(($2 * 1048576))" >/dev/null
}
fill root "$((FIRST_MIB + BOOT_MIB))" "$ROOT_MIB"
# A running root changes underneath a copy-on-write disk: guests of flavour debian start from a twin that nobody mounts.
[ "$GUEST_MIB" -eq 0 ] || fill guest "$((FIRST_MIB + BOOT_MIB + ROOT_MIB))" "$GUEST_MIB"
for blob in "$LOADER"/raw/*; do
  [ ! -e "$blob" ] || dd if="$blob" of="$card" bs=1024 seek="${blob##*/}" conv=notrunc status=none
done
if [ -e "$LOADER/core.img" ]; then
  # Where grub-install would put them: the first sector but for the table of partitions, and what that one loads behind it.
  dd if="$LOADER/boot.img" of="$card" bs=440 count=1 conv=notrunc status=none
  dd if="$LOADER/core.img" of="$card" bs=512 seek=1 conv=notrunc status=none
fi
tar --create --file - --directory "$root" --exclude './usr/lib/modules' . | sha256sum | cut -d ' ' -f 1 >"$OUT/rootfs.sha256"
cp "$root/var/lib/dpkg/status" "$OUT/dpkg-status"
printf '%s\n' "$FIRST_MIB" >"$OUT/first_mib"
printf '%s\n' "$BOOT_MIB" >"$OUT/boot_mib"
printf '%s\n' "$ROOT_MIB" >"$OUT/root_mib"
