#!/bin/sh
# Unpack QEMU of a Debian suite into $OUT, beside the system: $OUT/qemu-system-x86_64. SUITE.
# QEMU 7.2 corrupts registers of an emulated x86 processor now and then, so that Linux 6.12 crashes while it starts.
set -eu
debian_tree extract "$SUITE" "$(dpkg --print-architecture)" "$OUT/root" qemu-system-x86,seabios
cd "$OUT/root"
loader=$(find usr/lib usr/lib64 -name 'ld-linux-*.so.*' | head -n 1)
libraries=$(dirname "$(find usr/lib -name libc.so.6 | head -n 1)")
cat >"$OUT/qemu-system-x86_64" <<WRAPPER
#!/bin/sh
root=\$(dirname "\$0")/root
exec "\$root/$loader" --library-path "\$root/$libraries:\$root/$libraries/pulseaudio" "\$root/usr/bin/qemu-system-x86_64" \
  -L "\$root/usr/share/seabios" -L "\$root/usr/share/qemu" "\$@"
WRAPPER
chmod 755 "$OUT/qemu-system-x86_64"
"$OUT/qemu-system-x86_64" --version
