# shellcheck shell=sh
# check mode: safe
# Find the QEMU to use: the unpacked one, or links to the system's in a folder of the same layout. UNPACKED (folder or empty), NOT_UNPACKED
# (why there is none, or empty), LINKS.
folder=$UNPACKED qemu=$UNPACKED/bin/qemu-system-aarch64
missing() {
  [ -z "$NOT_UNPACKED" ] || fail "There is no $1, and none could be unpacked: $NOT_UNPACKED Or else run: sudo apt-get install --no-install-recommends $2"
  fail "There is no $1; run: sudo apt-get install --no-install-recommends $2"
}
link() { [ "$RTVIRT_CHECK_MODE" = yes ] || ln -sfn "$1" "$LINKS/$2"; }
if [ -z "$folder" ]; then
  [ "$RTVIRT_CHECK_MODE" = yes ] || mkdir -p "$LINKS/bin" "$LINKS/u-boot"
  for program in qemu-system-aarch64 qemu-img qemu-io; do
    found=$(command -v "$program") || missing "$program" "qemu-system-arm qemu-utils u-boot-qemu"
    link "$found" "bin/$program"
  done
  ! found=$(command -v qemu-system-x86_64) || link "$found" bin/qemu-system-x86_64  # only emulated PCs need it
  firmware=/usr/lib/u-boot/qemu_arm64/u-boot.bin
  [ -e "$firmware" ] || missing "$firmware" u-boot-qemu
  link "$firmware" u-boot/qemu_arm64.bin
  folder=$LINKS qemu=$(command -v qemu-system-aarch64)
fi
version=$("$qemu" --version | sed -n 's/^QEMU emulator version \([0-9.]*\).*/\1/p')
[ -n "$version" ] || fail "$qemu does not run."
fact folder "$folder"
fact version "$version"
if [ "${version%%.*}" -lt 10 ]; then
  fact warning "QEMU $version gives a busy core of a virtual board all the time of the others; latencies measured while another core is busy are spoiled. QEMU 10 or newer does not."
fi
