# shellcheck shell=sh disable=SC2154
# GRUB for BIOS and UEFI, from the boot partition. Its modules are those of SUITE for amd64; the program that joins them is SUITE's for this
# machine, whatever its architecture. It runs with its own C library, as in a tree that is only unpacked nothing is where programs look.
echo ":: making GRUB"
debian_tree extract "$SUITE" "$(dpkg --print-architecture)" "$work/tools" grub-common
debian_tree extract "$SUITE" amd64 "$work/grub" grub-pc-bin,grub-efi-amd64-bin
modules=$work/grub/usr/lib/grub
libraries=$(dirname "$(find "$work/tools/usr/lib" -name libc.so.6 | head -n 1)")
loader=$(find "$work/tools/usr/lib" "$work/tools/usr/lib64" -name 'ld-linux*.so.*' 2>/dev/null | head -n 1)
cat >"$work/start.cfg" <<'GRUB'
search --no-floppy --label BOOT --set=root
set prefix=($root)/grub
GRUB
# usage: mkimage FORMAT OUTPUT MODULE...
mkimage() {
  format=$1 output=$2
  shift 2
  "$loader" --library-path "$libraries" "$work/tools/usr/bin/grub-mkimage" --format "$format" --directory "$modules/$format" \
    --config "$work/start.cfg" --prefix /grub --output "$output" part_gpt part_msdos fat search search_label normal configfile "$@"
}
mkdir -p "$OUT/boot/EFI/BOOT"
mkimage i386-pc "$OUT/core.img" biosdisk
mkimage x86_64-efi "$OUT/boot/EFI/BOOT/BOOTX64.EFI"
cp "$modules/i386-pc/boot.img" "$OUT/boot.img"
for format in i386-pc x86_64-efi; do
  mkdir -p "$OUT/boot/grub/$format"
  cp "$modules/$format"/*.mod "$modules/$format"/*.lst "$OUT/boot/grub/$format/"
done
