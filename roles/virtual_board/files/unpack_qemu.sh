#!/bin/sh
# Unpack QEMU and U-Boot of a Debian suite into $OUT, beside the system and without touching it: they run with their own C library.
set -eu
echo ":: fetching QEMU and U-Boot of Debian $SUITE"
debian_tree extract "$SUITE" "$(dpkg --print-architecture)" "$OUT/root" qemu-system-arm,qemu-system-x86,seabios,qemu-utils,u-boot-qemu
loader=$(cd "$OUT/root" && find usr/lib usr/lib64 -name 'ld-linux-*.so.*' | head -n 1)
libraries=$(cd "$OUT/root" && dirname "$(find usr/lib -name 'libc.so.6' | head -n 1)")
[ -n "$loader" ] || { echo "no dynamic loader came with QEMU" >&2; exit 1; }

mkdir -p "$OUT/bin" "$OUT/u-boot"
for program in qemu-system-aarch64 qemu-system-x86_64 qemu-img qemu-io; do
  # shellcheck disable=SC2016  # the wrapper expands it
  case $program in qemu-system-*) firmware='-L "$root/usr/share/seabios" -L "$root/usr/share/qemu"' ;; *) firmware= ;; esac
  cat >"$OUT/bin/$program" <<WRAPPER
#!/bin/sh
root=\$(dirname "\$(readlink -f "\$0")")/../root
exec "\$root/$loader" --library-path "\$root/$libraries:\$root/$libraries/pulseaudio" --argv0 $program "\$root/usr/bin/$program" $firmware "\$@"
WRAPPER
  chmod 755 "$OUT/bin/$program"
done
cp "$OUT/root/usr/lib/u-boot/qemu_arm64/u-boot.bin" "$OUT/u-boot/qemu_arm64.bin"
rm -rf "$OUT/root/usr/share/doc" "$OUT/root/usr/share/man" "$OUT/root/usr/share/locale" "$OUT/root/usr/lib/u-boot"
"$OUT/bin/qemu-system-aarch64" --version | head -n 1
