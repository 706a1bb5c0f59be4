#!/bin/sh
# Make the disk of a PC in $OUT, as root: Debian on one ext4 partition, started by GRUB from the BIOS, as its installer leaves it;
# and the keys to it (client_key, known_hosts). Nothing is mounted, and no emulator is needed on an x86 machine.
# Needs: KERNEL (folder of kernel_build), SUITE, NAME (of the machine), DISK_MIB, PACKAGES (more of them: nothing, or ,NAME for each).
set -eu
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
root=$work/root
release=$(cat "$KERNEL/release")

echo ":: installing Debian $SUITE (amd64)"
debian_tree minbase "$SUITE" amd64 "$root" \
  systemd-sysv,udev,kmod,openssh-server,initramfs-tools,zstd,busybox,grub2-common,grub-pc-bin"$PACKAGES"

echo ":: adding kernel $release"
mkdir -p "$root/usr/lib/modules"
cp "$KERNEL/vmlinuz" "$root/boot/vmlinuz-$release"
cp "$KERNEL/config" "$root/boot/config-$release"
cp -R "$KERNEL/lib/modules/$release" "$root/usr/lib/modules/"
# Its initrds have what this machine needs and no more: the board makes one itself, and it is an emulated board.
echo MODULES=list >"$root/etc/initramfs-tools/conf.d/small"
printf '%s\n' virtio_pci virtio_blk ext4 >>"$root/etc/initramfs-tools/modules"
chroot "$root" mkinitramfs -o "/boot/initrd.img-$release" "$release"

ssh-keygen -q -t ed25519 -N '' -C "rtvirt to $NAME" -f "$OUT/client_key"
rm -f "$root"/etc/ssh/ssh_host_*_key*
ssh-keygen -q -t ed25519 -N '' -C "$NAME" -f "$root/etc/ssh/ssh_host_ed25519_key"
echo "$NAME $(cut -d ' ' -f 1-2 "$root/etc/ssh/ssh_host_ed25519_key.pub")" >"$OUT/known_hosts"
install -d -m 700 "$root/root/.ssh"
cp "$OUT/client_key.pub" "$root/root/.ssh/authorized_keys"
sed -i 's/^root:[^:]*:/root:*:/' "$root/etc/shadow"  # locked for passwords but not as an account
echo "$NAME" >"$root/etc/hostname"
printf '/dev/disk/by-label/root / ext4 noatime 0 0\n' >"$root/etc/fstab"
printf '[Match]\nName=e*\n[Network]\nDHCP=ipv4\n' >"$root/etc/systemd/network/wired.network"
for unit in systemd-networkd.service ssh.service; do
  ln -sf "/usr/lib/systemd/system/$unit" "$root/etc/systemd/system/multi-user.target.wants/$unit"
done
for unit in getty-static.service getty@tty1.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service \
  systemd-networkd-persistent-storage.service systemd-pcrphase.service sys-fs-fuse-connections.mount dev-hugepages.mount; do
  ln -sfn /dev/null "$root/etc/systemd/system/$unit"
done

echo ":: adding GRUB"
cat >"$root/etc/default/grub" <<GRUB
GRUB_TIMEOUT=0
GRUB_CMDLINE_LINUX="console=ttyS0 loglevel=4"
GRUB_TERMINAL=serial
GRUB_DISABLE_OS_PROBER=true
GRUB
mkdir -p "$root/boot/grub"
chroot "$root" grub-editenv /boot/grub/grubenv create
cp -R "$root/usr/lib/grub/i386-pc" "$root/boot/grub/i386-pc"
# For the first boot; that runs update-grub, as an installation does.
cat >"$root/boot/grub/grub.cfg" <<GRUB
linux /boot/vmlinuz-$release root=LABEL=root ro console=ttyS0 loglevel=4
initrd /boot/initrd.img-$release
boot
GRUB
chroot "$root" grub-mkimage --format i386-pc --prefix '(hd0,msdos1)/boot/grub' --output /core.img biosdisk part_msdos ext2
mv "$root/core.img" "$work/core.img"

echo ":: making the disk"
disk=$OUT/disk.img
truncate --size "${DISK_MIB}M" "$disk"
echo 'start=1MiB, type=linux, bootable' | sfdisk --quiet --label dos "$disk"
# GRUB of some suites cannot read what mke2fs of others makes by default.
mke2fs -q -t ext4 -L root -O '^metadata_csum_seed,^orphan_file' -E offset=1048576,lazy_itable_init=1 -d "$root" "$disk" "$((DISK_MIB - 1))M"
# Where grub-install would put them: the first sector but for the table of partitions, and what that one loads behind it.
dd if="$root/usr/lib/grub/i386-pc/boot.img" of="$disk" bs=440 count=1 conv=notrunc status=none
dd if="$work/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none
