# shellcheck shell=sh
# What building and emulating start first: a foreign program runs here, and the cross compiler makes a static one.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo 'int main(void) { return 42; }' >"$folder/answer.c"
aarch64-linux-gnu-gcc -static -o "$folder/answer" "$folder/answer.c" || fail "The cross compiler does not make static programs."
qemu-aarch64-static "$folder/answer"
[ $? -eq 42 ] || fail "A foreign program does not run on this machine."
for tool in mmdebstrap arch-test cpio curl gpgv git xz zstd sfdisk mke2fs mkfs.vfat mcopy mkimage readelf ssh dropbearconvert; do
  command -v "$tool" >/dev/null || fail "$tool is missing."
done
