#!/bin/sh
# Unpack packages into an installed tree without installing them, from a hook of mmdebstrap: fetched by this machine's apt, which under
# emulation takes half a minute for one. usage: unpack_packages.sh ROOT PACKAGE...
set -eu
root=$1
shift
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cd "$work"
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get download "$@"
for package in *.deb; do dpkg-deb --extract "$package" "$root"; done
