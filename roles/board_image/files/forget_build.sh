#!/bin/sh
# Take out of an installed tree what differs from build to build or belongs to one machine. usage: forget_build.sh ROOT SUITE
set -eu
root=$1 suite=$2
rm -f "$root"/etc/ssh/ssh_host_*_key*  # a key in a shared base would be everybody's key
rm -f "$root/etc/hostname" "$root/etc/resolv.conf" "$root/etc/machine-id" "$root/var/lib/dbus/machine-id" "$root"/etc/passwd- "$root"/etc/group- \
  "$root"/etc/shadow- "$root"/etc/gshadow- "$root/etc/.pwd.lock" "$root/var/cache/ldconfig/aux-cache" "$root/var/lib/systemd/random-seed" \
  "$root"/var/lib/dpkg/*-old "$root"/var/cache/debconf/*-old
find "$root/var/log" -type f -delete
# The suite by its own name, whatever name the mirror had it whole under.
sed -i -E "s/^(deb .*) (stable|oldstable|testing) /\1 $suite /" "$root/etc/apt/sources.list"
