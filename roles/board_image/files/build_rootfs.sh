#!/bin/sh
# Install a small Debian for a foreign architecture into $OUT/rootfs.tar. Runs as root.
# Its maintainer scripts run under qemu-user: that is where nearly all the time goes.
set -eu

# qemu-user has to be known to the kernel's binfmt_misc. Where no service has registered it, it is registered here for the
# time of the build, in a mount of our own, so that nothing of it is left afterwards.
binfmt=/proc/sys/fs/binfmt_misc
if [ ! -e "$binfmt/qemu-$QEMU_ARCHITECTURE" ]; then
  if [ "${RTVIRT_UNSHARED:-}" != yes ]; then
    exec env RTVIRT_UNSHARED=yes unshare --mount sh "$0"
  fi
  [ -e "$binfmt/register" ] || mount -t binfmt_misc binfmt_misc "$binfmt"
  [ -e "$binfmt/qemu-$QEMU_ARCHITECTURE" ] ||
    cat "/usr/lib/binfmt.d/qemu-$QEMU_ARCHITECTURE.conf" >"$binfmt/register"
fi

echo ":: installing Debian $SUITE for $ARCHITECTURE under qemu-user; this takes some minutes"
# The hooks run dpkg's log past us, one line per package, as the progress that people see.
debian_tree minbase "$SUITE" "$ARCHITECTURE" "$OUT/rootfs.tar" "$PACKAGES" --mode=root --verbose \
  --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --customize-hook="chroot \"\$1\" sh -c 'cd /tmp && apt-get download $UNPACKED && for deb in *.deb; do dpkg-deb --extract \"\$deb\" / && rm \"\$deb\"; done'" \
  2>&1 | awk -v total="${PACKAGES_ABOUT:-150}" '
    { print; fflush() }
    /^Setting up / { n++; if (n % 10 == 0) { printf ":: %d of about %d packages set up\n", n, total; fflush() } }'
[ -s "$OUT/rootfs.tar" ] || { echo "mmdebstrap left no root file system" >&2; exit 1; }
