# shellcheck shell=sh disable=SC2154
# GRUB for TARGETS (BIOS, UEFI), from the boot partition. Its modules are those of SUITE for the board's architecture; the program that joins them
# is SUITE's for this machine, whatever its architecture. It runs with its own C library, as in a tree that is only unpacked nothing is where
# programs look.
echo ":: making GRUB"
debian_tree extract "$SUITE" "$(dpkg --print-architecture)" "$work/tools" grub-common
packages=
for target in $TARGETS; do
  case $target in
  i386-pc) package=grub-pc-bin ;;
  x86_64-efi) package=grub-efi-amd64-bin ;;
  arm64-efi) package=grub-efi-arm64-bin ;;
  esac
  packages=$packages${packages:+,}$package
done
debian_tree extract "$SUITE" "$ARCHITECTURE" "$work/grub" "$packages"
modules=$work/grub/usr/lib/grub
# Debian 12 has packages with /lib, Debian 13 with /usr/lib alone.
libraries=$(find "$work/tools/lib" "$work/tools/usr/lib" -name '*.so.*' -printf '%h\n' 2>/dev/null | sort -u | paste -s -d :)
loader=$(find "$work/tools/lib" "$work/tools/usr/lib" "$work/tools/usr/lib64" -name 'ld-linux*.so.*' -type f 2>/dev/null | head -n 1)
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
mkdir -p "$OUT/boot/grub"
cp "$(dirname "$0")/grub.cfg" "$OUT/boot/grub/"
for target in $TARGETS; do
  mkdir -p "$OUT/boot/grub/$target"
  [ "$target" = i386-pc ] || mkdir -p "$OUT/boot/EFI/BOOT"
  case $target in
  i386-pc)
    mkimage i386-pc "$OUT/core.img" biosdisk
    cp "$modules/i386-pc/boot.img" "$OUT/boot.img"
    ;;
  x86_64-efi) mkimage x86_64-efi "$OUT/boot/EFI/BOOT/BOOTX64.EFI" ;;  # what UEFI starts from a disk that it knows nothing of
  arm64-efi) mkimage arm64-efi "$OUT/boot/EFI/BOOT/BOOTAA64.EFI" ;;
  esac
  cp "$modules/$target"/*.mod "$modules/$target"/*.lst "$OUT/boot/grub/$target/"
done
