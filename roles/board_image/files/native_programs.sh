#!/bin/sh
# While a foreign Debian is installed, from its first package on: let its shells, Perl and small tools be this machine's own, of the same
# suite, so that only what depends on the architecture is emulated; and leave out what nothing on a bench board needs and emulation takes
# minutes for.
# usage: native_programs.sh on|off NATIVE ROOT       NATIVE: folder of unpacked packages
# The outcome is the same, file by file, but for what is left out: Python's compiled modules (Python makes them when it first runs) and
# udev's database of hardware names.
set -eu
what=$1 native=$2 root=$3
# Not those that tell or decide by the architecture: uname, arch, dpkg, dpkg-query.
programs="bash dash perl sed grep mawk find xargs tar gzip xz dpkg-deb dpkg-split update-alternatives [ basename cat chgrp chmod chown comm cp
  cut date dirname echo env expr false head id install ln ls mkdir mktemp mv printf readlink realpath rm rmdir sort stat sync tail tee test touch
  tr true uniq wc"
libraries=$(cd "$native" && dirname "$(find usr/lib -name libc.so.6 | head -n 1)")
loader=$(cd "$native" && find usr/lib64 usr/lib -maxdepth 1 -name 'ld-linux*' 2>/dev/null | head -n 1)

# Let dpkg put a file elsewhere, whether its package is there yet or comes later. usage: divert FILE
divert() { dpkg-divert --root="$root" --local --rename --quiet --add "/$1"; }

on() {
  mkdir -p "$root/${libraries%/*}" "$root/${loader%/*}"
  [ "${loader%%/ld-*}" = usr/lib ] || ln -s "${loader%/*}" "$root/$(basename "${loader%/*}")"
  cp -a "$native/$libraries" "$root/$libraries"
  cp -L "$native/$loader" "$root/$loader"
  for program in $programs; do
    divert "usr/bin/$program"
    cp "$native/usr/bin/$program" "$root/usr/bin/$program"
  done
  version=$(APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-cache depends python3-minimal | sed -n 's/.*Depends: python\(3[.0-9]*\)-minimal.*/\1/p' | head -n 1)
  # The keys that ssh-keygen makes would be thrown away.
  for program in usr/bin/systemd-hwdb usr/bin/ssh-keygen ${version:+usr/bin/python$version}; do
    divert "$program"
    ln -s true "$root/$program"
  done
}

off() {
  for program in $(dpkg-divert --root="$root" --list | sed -n 's/^local diversion of \(.*\) to .*\.distrib$/\1/p'); do
    rm "$root$program"
    dpkg-divert --root="$root" --local --rename --quiet --remove "$program"
  done
  rm -r "${root:?}/$libraries"
  rm "$root/$loader"
  [ "${loader%%/ld-*}" = usr/lib ] || { rmdir "$root/${loader%/*}"; rm "$root/$(basename "${loader%/*}")"; }
}

"$what"
