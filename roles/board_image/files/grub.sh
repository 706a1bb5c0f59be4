# shellcheck shell=sh disable=SC2154
# GRUB for BIOS and UEFI, from the boot partition. Its modules are Debian's of SUITE; what joins them into a program is this machine's, or
# where that is of another suite, theirs (an x86 machine runs it as it is).
echo ":: making GRUB"
debian_tree extract "$SUITE" amd64 "$work/grub" grub-common,grub-pc-bin,grub-efi-amd64-bin
cat >"$work/start.cfg" <<'GRUB'
search --no-floppy --label BOOT --set=root
set prefix=($root)/grub
GRUB
# usage: mkimage FORMAT OUTPUT MODULE...
mkimage() {
  format=$1 output=$2
  shift 2
  chroot_mkimage --format "$format" --directory "/usr/lib/grub/$format" --config /start.cfg --prefix /grub --output /image \
    part_gpt part_msdos fat search search_label normal configfile "$@"
  mv "$work/grub/image" "$output"
}
cp "$work/start.cfg" "$work/grub/start.cfg"
chroot_mkimage() { chroot "$work/grub" /usr/bin/grub-mkimage "$@"; }
mkdir -p "$OUT/boot/grub" "$OUT/boot/EFI/BOOT"
mkimage i386-pc "$OUT/core.img" biosdisk
mkimage x86_64-efi "$OUT/boot/EFI/BOOT/BOOTX64.EFI"
cp "$work/grub/usr/lib/grub/i386-pc/boot.img" "$OUT/boot.img"
for format in i386-pc x86_64-efi; do
  mkdir -p "$OUT/boot/grub/$format"
  cp "$work/grub/usr/lib/grub/$format"/*.mod "$work/grub/usr/lib/grub/$format"/*.lst "$OUT/boot/grub/$format/"
done
