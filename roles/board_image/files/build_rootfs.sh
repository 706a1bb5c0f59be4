#!/bin/sh
# Install a small Debian into $OUT/rootfs.tar, as root. SUITE, ARCHITECTURE, QEMU_ARCHITECTURE, PACKAGES, UNPACKED, PACKAGES_ABOUT.
# Where the architecture is not this machine's, its maintainer scripts run under qemu-user: that is where nearly all the time goes.
set -eu
FILES=$(dirname "$0")
[ "${RTVIRT_UNSHARED:-}" = yes ] || exec env RTVIRT_UNSHARED=yes unshare --mount --propagation private sh "$0"
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# qemu-user has to be known to the kernel's binfmt_misc. Where no service has registered it, it is registered here for the
# time of the build, in a mount of our own, so that nothing of it is left afterwards.
register_qemu() {
  binfmt=/proc/sys/fs/binfmt_misc
  [ -e "$binfmt/register" ] || mount -t binfmt_misc binfmt_misc "$binfmt"
  [ -e "$binfmt/qemu-$QEMU_ARCHITECTURE" ] || cat "/usr/lib/binfmt.d/qemu-$QEMU_ARCHITECTURE.conf" >"$binfmt/register"
}

native=$(dpkg --print-architecture)
set --
if [ "$native" != "$ARCHITECTURE" ]; then
  register_qemu
  echo ":: fetching what maintainer scripts call, for this machine ($native)"
  debian_tree extract "$SUITE" "$native" "$work/native" bash,coreutils,dash,dpkg,findutils,grep,gzip,mawk,perl-base,sed,tar,xz-utils
  set -- --extract-hook="sh '$FILES/native_programs.sh' on '$work/native' \"\$1\"" \
    --customize-hook="sh '$FILES/native_programs.sh' off '$work/native' \"\$1\""
fi

echo ":: installing Debian $SUITE for $ARCHITECTURE"
# The hooks run dpkg's log past us, one line per package, as the progress that people see.
debian_tree minbase "$SUITE" "$ARCHITECTURE" "$OUT/rootfs.tar" "$PACKAGES" --mode=root --verbose \
  --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' "$@" \
  --customize-hook="sh '$FILES/unpack_packages.sh' \"\$1\" $UNPACKED" \
  --customize-hook="sh '$FILES/forget_build.sh' \"\$1\" $SUITE" \
  2>&1 | {
    count=0
    while IFS= read -r line; do  # awk would hold lines back until it has read a block of them
      printf '%s\n' "$line"
      case $line in "Setting up "*) count=$((count + 1)) ;; *) continue ;; esac
      [ "$((count % 10))" -ne 0 ] || echo ":: $count of about $PACKAGES_ABOUT packages set up"
    done
  }
[ -s "$OUT/rootfs.tar" ] || { echo "mmdebstrap left no root file system" >&2; exit 1; }
